// A file that is coming: what an earlier try left is kept and appended to.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif
import LensFiles

final class PartialFile {
    let path: String
    private(set) var count: Int
    /// Whether bytes of the present answer have arrived.
    var isContinuing = false
    private var descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Self.failure("cannot write file", path) }
        let end = lseek(descriptor, 0, SEEK_END)
        count = Int(max(0, end))
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func append(_ bytes: UnsafeRawBufferPointer) throws {
        var written = 0
        while written < bytes.count {
            let result = write(descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written)
            if result < 0, errno == EINTR { continue }
            guard result > 0 else { throw Self.failure("cannot write file", path) }
            written += result
            count += result
        }
    }

    /// Throws away what there is.
    func restart() throws {
        guard ftruncate(descriptor, 0) == 0, lseek(descriptor, 0, SEEK_SET) == 0 else { throw Self.failure("cannot write file", path) }
        count = 0
        isContinuing = false
    }

    /// Puts the file on the disk and under its name.
    func move(to target: String) throws {
        guard fsync(descriptor) == 0 || errno == EINVAL || errno == ENOTSUP else { throw Self.failure("cannot write file", path) }
        guard rename(path, target) == 0 else { throw Self.failure("cannot rename a downloaded file", path) }
    }

    private static func failure(_ what: String, _ path: String) -> LensError {
        LensError(.file, what, at: path, found: String(cString: strerror(errno)),
                  advice: errno == ENOSPC ? "free some space, or set HF_HUB_CACHE" : nil)
    }
}

/// Lets the thread rest.
func pauseThread(_ seconds: Double) { usleep(UInt32(max(0, min(seconds, 1)) * 1e6)) }
