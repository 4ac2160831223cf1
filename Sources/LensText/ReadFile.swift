// Reading a whole small file. It refuses folders, pipes and devices (which may never end), and files past a limit.
import LensFiles

/// The bytes of a file; nil if it does not exist and `isOptional`.
func readFile(_ path: String, isOptional: Bool = false) throws -> [UInt8]? {
    /// Ten times the largest tokenizer.json known.
    let mostBytes = 1 << 30
    if isOptional && !fileExists(path) { return nil }
    return try DataFile(path: path).readAll(limit: mostBytes)
}
