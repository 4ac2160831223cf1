// A file that appears whole or not at all: bytes go to a temporary file in the same folder, which takes the target's
// name (rename) once everything is on the disk. Until then the old file, if any, stays as it was.
// It refuses to replace a folder, a pipe or a device. A symbolic link is replaced, not followed. A process that is
// killed leaves its temporary file (`.lens-….partial`) behind.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// Writes one file atomically. Append with `write`, then `commit`; a writer dropped before that leaves nothing behind.
public final class AtomicFileWriter {
    /// The file that will be written.
    public let path: String
    /// How many bytes were appended so far.
    public private(set) var bytesWritten = 0
    private let temporary: String
    /// −1 once committed, cancelled or failed.
    private var descriptor: Int32
    private var buffer: [UInt8] = []
    private let bufferSize: Int

    /// Opens a temporary file beside `path` (mode 0644 less the umask).
    /// - Throws: `LensError` (`.file`) if the folder does not exist or cannot be written to, or if `path` is something
    ///   else than a regular file.
    public init(path: String, bufferSize: Int = 1 << 20) throws {
        try checkPath(path)
        var info = stat()
        if stat(path, &info) == 0, let kind = irregularKind(info.st_mode) {
            throw LensError(.file, "cannot write file", at: path, expected: "a file or nothing there", found: kind)
        }
        // Renaming over it would work, but whoever made it read-only meant it.
        if access(path, F_OK) == 0, access(path, W_OK) != 0 { throw LensError.system("cannot write file", path, code: errno) }
        if path.utf8.last == UInt8(ascii: "/") { throw LensError(.file, "cannot write file: the path names a folder", at: path) }
        let folder = Self.folder(of: path)
        var descriptor: Int32 = -1
        var temporary = ""
        for _ in 0..<16 {
            temporary = folder + ".lens-\(String(UInt64.random(in: .min ... .max), radix: 16)).partial"
            descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
            if descriptor >= 0 || errno != EEXIST { break }
        }
        guard descriptor >= 0 else { throw LensError.system("cannot create a file in the folder of", path, code: errno) }
        self.path = path
        self.temporary = temporary
        self.descriptor = descriptor
        self.bufferSize = max(1, bufferSize)
    }

    deinit { cancel() }

    /// Appends `bytes`. After a failure (a full disk) the writer is cancelled and only throws.
    public func write(_ bytes: UnsafeRawBufferPointer) throws {
        try checkOpen()
        if buffer.count + bytes.count > bufferSize { try flush() }
        if bytes.count >= bufferSize {
            try put(bytes, at: nil)
        } else {
            if buffer.capacity < bufferSize, buffer.count + bytes.count > 4_096 { buffer.reserveCapacity(bufferSize) }
            buffer.append(contentsOf: bytes)
        }
        bytesWritten += bytes.count
    }

    /// Appends `bytes`.
    public func write(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try write($0) } }

    /// Writes over bytes appended earlier: `bytes` from `offset` on, all of it before `bytesWritten`.
    public func overwrite(at offset: Int, with bytes: [UInt8]) throws {
        try checkOpen()
        let (end, overflow) = offset.addingReportingOverflow(bytes.count)
        guard offset >= 0, !overflow, end <= bytesWritten else {
            throw LensError(.usage, "bytes to write over were not written", at: path,
                            expected: "offsets within \(bytesWritten) bytes", found: "\(bytes.count) bytes at \(offset)")
        }
        let flushed = bytesWritten - buffer.count
        if offset >= flushed {
            for (i, byte) in bytes.enumerated() { buffer[offset - flushed + i] = byte }
            return
        }
        try flush()
        try bytes.withUnsafeBytes { try put($0, at: offset) }
    }

    /// Puts everything on the disk, then the file in its place.
    public func commit() throws {
        try checkOpen()
        try flush()
        // A file system without fsync says EINVAL or ENOTSUP.
        guard fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP else { throw failure(errno) }
        let closed = close(descriptor)
        descriptor = -1
        guard closed == 0, rename(temporary, path) == 0 else {
            let code = errno
            unlink(temporary)
            throw LensError.system("cannot write file", path, code: code)
        }
        // The name, too, should outlive a power failure; a file system that cannot do this has written the file all the same.
        let folder = open(Self.folder(of: path), O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        if folder >= 0 {
            fsync(folder)
            close(folder)
        }
    }

    /// Gives up: the temporary file is removed, the old file stays. Does nothing after `commit`.
    public func cancel() {
        if descriptor < 0 { return }
        close(descriptor)
        descriptor = -1
        unlink(temporary)
        buffer = []
    }

    // MARK: The temporary file

    private func checkOpen() throws {
        if descriptor < 0 { throw LensError(.usage, "write to a file that is finished or was given up", at: path) }
    }

    private func flush() throws {
        if buffer.isEmpty { return }
        try buffer.withUnsafeBytes { try put($0, at: nil) }
        buffer.removeAll(keepingCapacity: true)
    }

    /// Writes all of `bytes`, at the end or at an offset.
    private func put(_ bytes: UnsafeRawBufferPointer, at offset: Int?) throws {
        guard let base = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let length = min(bytes.count - done, 1 << 30)
            let count: Int
            if let offset {
                count = pwrite(descriptor, base + done, length, off_t(offset + done))
            } else {
                count = systemWrite(descriptor, base + done, length)
            }
            if count > 0 { done += count } else if count == 0 || errno != EINTR { throw failure(count == 0 ? EIO : errno) }
        }
    }

    private func failure(_ code: Int32) -> LensError {
        cancel()
        return LensError.system("cannot write file", path, code: code)
    }

    /// The folder of `path` with its slash; `./` if the path names none.
    private static func folder(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "./" }
        return String(path[...slash])
    }
}

/// `write`, which inside the class is its own method.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int { write(descriptor, bytes, count) }
