// Metrics as JSON lines, one for a step. A run that goes on from a checkpoint first takes away what was written after it, so
// that the file has every step once, with the numbers of an uninterrupted run.

import LensFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A file that lines are added to. Each is handed to the system at once: a killed process loses none it has written.
final class MetricsFile {
    let path: String
    private let descriptor: Int32

    /// Opens the file (made if missing), keeping the lines of steps up to `step`.
    /// - Throws: `LensError(.file)`.
    init(path: String, upTo step: Int) throws {
        self.path = path
        if fileExists(path) { try Self.cut(path, step) }
        descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw LensError(.file, "cannot write metrics", at: path, found: String(cString: strerror(errno))) }
    }

    deinit { close(descriptor) }

    /// A torn last line and steps after `step` go; so does a line that is none of ours.
    private static func cut(_ path: String, _ step: Int) throws {
        let bytes = try DataFile(path: path).readAll(limit: .max)
        var kept: [UInt8] = [], last = 0
        for line in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let json = try? JSON.parse(Array(line), at: path), let found = json["step"]?.intValue, found > last, found <= step else { continue }
            last = found
            kept += line + [UInt8(ascii: "\n")]
        }
        guard kept != bytes else { return }
        let writer = try AtomicFileWriter(path: path)
        try writer.write(kept)
        try writer.commit()
    }

    /// Adds a line.
    /// - Throws: `LensError(.file)`.
    func add(_ fields: JSON) throws {
        let bytes = try fields.utf8(nonFinite: .null) + [UInt8(ascii: "\n")]
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            if count > 0 { done += count } else if errno != EINTR { throw LensError(.file, "cannot write metrics", at: path, found: String(cString: strerror(errno))) }
        }
    }

    /// Puts the lines on the disk: before a checkpoint that says they are there.
    func synchronize() { fsync(descriptor) }
}

/// Removes a file, if it is there.
func removeFile(_ path: String) { unlink(path) }
