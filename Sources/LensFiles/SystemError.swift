// What the operating system said, as a LensError.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

extension LensError {
    /// A failed system call on the file at `path`; `code` is its errno.
    static func system(_ what: String, _ path: String, code: Int32) -> LensError {
        let advice: String?
        switch code {
        case ENOENT: advice = "check the path"
        case EACCES, EPERM: advice = "check the permissions of the file and its folder"
        case ENOSPC, EDQUOT: advice = "free some space or write elsewhere"
        case EROFS: advice = "write elsewhere"
        case EMFILE, ENFILE: advice = "raise the limit on open files (ulimit -n)"
        default: advice = nil
        }
        let message = strerror(code).map { String(cString: $0) } ?? "system error \(code)"
        return LensError(.file, what, at: path, found: message, advice: advice)
    }
}

/// Throws unless `path` can be handed to the system as it is.
func checkPath(_ path: String) throws {
    if path.isEmpty { throw LensError(.file, "empty file name") }
    if path.utf8.contains(0) { throw LensError(.file, "file name with a zero byte", at: path) }
}

/// What sort of file `mode` (of `stat`) tells of, for errors; nil if a regular one.
func irregularKind(_ mode: mode_t) -> String? {
    switch mode & S_IFMT {
    case S_IFREG: return nil
    case S_IFDIR: return "a folder"
    case S_IFIFO: return "a pipe"
    case S_IFSOCK: return "a socket"
    case S_IFCHR, S_IFBLK: return "a device"
    default: return "something else"
    }
}
