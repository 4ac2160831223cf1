// A regular file read by position (pread), never mapped.
// A mapped file that another program cuts short kills the process with SIGBUS at the next touch, and a mapped weight
// that is packed anyway sits in memory twice; a positional read returns short, which is an error like any other.
// It refuses folders, pipes, sockets and devices. Files that are part of the program (ShippedFiles) are read the same way.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// An open regular file of known size. Reads at given offsets; any number of tasks may read at once.
/// The file is closed when the last reference goes.
public final class DataFile: Sendable {
    public let path: String
    /// Its length in bytes when it was opened.
    public let size: Int
    private let place: Place

    private enum Place: @unchecked Sendable {
        case descriptor(Int32)
        /// Constants of the program.
        case memory(UnsafeRawBufferPointer)
    }

    /// Opens the file at `path`, following symbolic links.
    /// - Throws: `LensError` (`.file`) if there is no such file, it cannot be read or is no regular file.
    public init(path: String) throws {
        if let bytes = ShippedFiles.bytes(path) {
            (self.path, size, place) = (path, bytes.count, .memory(bytes))
            return
        }
        try checkPath(path)
        var info = stat()
        // Before opening: to open a device may do something to it.
        guard stat(path, &info) == 0 else { throw LensError.system("cannot open file", path, code: errno) }
        try Self.checkRegular(info, path)
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)
        guard descriptor >= 0 else { throw LensError.system("cannot open file", path, code: errno) }
        do {
            guard fstat(descriptor, &info) == 0 else { throw LensError.system("cannot open file", path, code: errno) }
            try Self.checkRegular(info, path)
            guard let size = Int(exactly: info.st_size), size >= 0 else {
                throw LensError(.file, "file of unknown length", at: path)
            }
            self.size = size
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        place = .descriptor(descriptor)
    }

    deinit {
        if case .descriptor(let descriptor) = place { close(descriptor) }
    }

    private static func checkRegular(_ info: stat, _ path: String) throws {
        if let kind = irregularKind(info.st_mode) {
            throw LensError(.file, "not a file", at: path, expected: "a regular file", found: kind)
        }
    }

    /// Fills `buffer` with the bytes from `offset` on.
    /// - Throws: `LensError`: `.format` if that is past the length the file had when opened, `.file` if it was cut short
    ///   since or cannot be read. The buffer's content is then unspecified.
    public func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        let (end, overflow) = offset.addingReportingOverflow(buffer.count)
        guard offset >= 0, !overflow, end <= size else {
            throw LensError(.format, "bytes past the end of the file", at: path,
                            expected: "offsets within \(size) bytes", found: "\(buffer.count) bytes at \(offset)")
        }
        guard let base = buffer.baseAddress else { return }
        switch place {
        case .memory(let bytes): buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
        case .descriptor(let descriptor): try read(descriptor, at: offset, into: base, count: buffer.count)
        }
    }

    private func read(_ descriptor: Int32, at offset: Int, into base: UnsafeMutableRawPointer, count: Int) throws {
        var done = 0
        while done < count {
            let got = pread(descriptor, base + done, min(count - done, 1 << 30), off_t(offset + done))
            if got > 0 {
                done += got
            } else if got == 0 {
                throw LensError(.file, "file cut short while it was read", at: path,
                                expected: "\(size) bytes", found: "\(offset + done)")
            } else if errno != EINTR {
                throw LensError.system("cannot read file", path, code: errno)
            }
        }
    }

    /// The bytes in `range`; errors as in `read(at:into:)`, found before anything is allocated.
    public func read(_ range: Range<Int>) throws -> [UInt8] {
        guard range.lowerBound >= 0, range.upperBound <= size else {
            throw LensError(.format, "bytes past the end of the file", at: path,
                            expected: "offsets within \(size) bytes", found: "\(range.lowerBound)..<\(range.upperBound)")
        }
        return try [UInt8](unsafeUninitializedCapacity: range.count) { buffer, count in
            let whole = UnsafeMutableRawBufferPointer(buffer)
            try read(at: range.lowerBound, into: UnsafeMutableRawBufferPointer(rebasing: whole[..<range.count]))
            count = range.count
        }
    }

    /// The whole file, if it is at most `limit` bytes long.
    public func readAll(limit: Int) throws -> [UInt8] {
        guard size <= limit else {
            throw LensError(.file, "file too long", at: path, expected: "at most \(limit) bytes", found: "\(size)")
        }
        return try read(0..<size)
    }
}

extension JSON {
    /// The value that the file at `path` holds; see `parse(_:at:maxDepth:allowNonFinite:)`.
    /// - Parameter limit: longer files are refused.
    public static func parse(file path: String, limit: Int = 1 << 28, maxDepth: Int = 64,
                             allowNonFinite: Bool = false) throws -> JSON {
        let bytes = try DataFile(path: path).readAll(limit: limit)
        return try parse(bytes, at: path, maxDepth: maxDepth, allowNonFinite: allowNonFinite)
    }
}
