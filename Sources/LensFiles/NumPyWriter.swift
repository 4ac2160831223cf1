// Writes .npy files and .npz files as numpy.savez does (stored, one .npy an array), streaming; the same arrays always
// as the same bytes, in the order given. Files appear whole or not at all.

/// Writes NumPy files.
public enum NumPyWriter {
    /// Writes `tensors` to the .npz file at `path`, replacing it; `numpy.load(path)[name]` is each of them.
    /// - Throws: `LensError`: `.file` if it cannot be written, `.usage` for a name given twice or an element type NumPy
    ///   lacks (BF16, F8…), `.shape` for bytes that do not fit a shape.
    public static func write(npz tensors: [TensorContent], to path: String) throws {
        try write(npz: tensors, into: try ZipWriter(path: path))
    }

    static func write(npz tensors: [TensorContent], into archive: ZipWriter) throws {
        var archive = archive
        var seen: Set<ExactString> = []
        for tensor in tensors {
            let entry = tensor.entry
            guard seen.insert(ExactString(entry.name)).inserted else {
                throw LensError(.usage, "two tensors of one name to write", found: entry.name)
            }
            let header = try NpyHeader.bytes(for: entry)
            let (size, overflow) = entry.byteCount.addingReportingOverflow(header.count)
            if overflow { throw LensError(.usage, "more bytes than a file can hold", at: entry.name) }
            try archive.add(entry.name + ".npy", size: size) { write in
                try header.withUnsafeBytes { try write($0) }
                try tensor.write(write)
            }
        }
        try archive.finish()
    }

    /// Writes one tensor to the .npy file at `path`, replacing it; its name is not kept. Errors as for .npz.
    public static func write(npy tensor: TensorContent, to path: String) throws {
        let header = try NpyHeader.bytes(for: tensor.entry)
        let file = try AtomicFileWriter(path: path)
        try file.write(header)
        try tensor.write(file.write)
        try file.commit()
    }
}
