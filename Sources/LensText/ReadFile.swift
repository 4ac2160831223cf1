// Reading a whole small file without Foundation. It refuses folders, and files that do not end.
import LensFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The bytes of a file; nil if it does not exist and `isOptional`.
func readFile(_ path: String, isOptional: Bool = false) throws -> [UInt8]? {
    /// Ten times the largest tokenizer.json known.
    let mostBytes = 1 << 30
    func fail(_ what: String) -> LensError { LensError(.file, what, at: path, found: String(cString: strerror(errno))) }
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
        if isOptional && (errno == ENOENT || errno == ENOTDIR) { return nil }
        throw fail("cannot open the file")
    }
    defer { close(file) }
    var status = stat()
    guard fstat(file, &status) == 0 else { throw fail("cannot read the file") }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(min(max(Int(status.st_size), 0), mostBytes) + 1)
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    while true {
        let count = buffer.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
        if count < 0 {
            if errno == EINTR { continue }
            throw fail("cannot read the file")
        }
        if count == 0 { return bytes }
        bytes.append(contentsOf: buffer[..<count])
        guard bytes.count <= mostBytes else {
            throw LensError(.file, "file too large", at: path, expected: "at most \(mostBytes) bytes")
        }
    }
}

/// The names in a folder; none if there is no such folder.
func fileNames(in folder: String) -> [String] {
    guard let stream = opendir(folder) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: pointer.pointee)) { String(cString: $0) }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}
