// The few questions asked of the file system, without Foundation.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Whether there is something at `path` (a link is followed).
public func fileExists(_ path: String) -> Bool {
    ShippedFiles.bytes(path) != nil || ShippedFiles.isFolder(path) || access(path, F_OK) == 0
}

/// Whether `path` is a folder (a link is followed).
public func isFolder(_ path: String) -> Bool {
    if ShippedFiles.isFolder(path) { return true }
    var information = stat()
    return stat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
}

/// The value of an environment variable; nil if unset or empty.
public func environmentVariable(_ name: String) -> String? {
    guard let value = getenv(name) else { return nil }
    let text = String(cString: value)
    return text.isEmpty ? nil : text
}

/// Makes a folder, unless it is there.
/// - Throws: `LensError(.file)`.
public func makeFolder(_ path: String) throws {
    guard !isFolder(path), mkdir(path, 0o777) != 0, errno != EEXIST || !isFolder(path) else { return }
    throw LensError(.file, "cannot make a folder", at: path, found: String(cString: strerror(errno)))
}
