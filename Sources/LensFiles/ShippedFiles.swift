// Files that are part of the program, under paths that begin with `shipped:`. They are read through DataFile as others are,
// so that whoever reads a folder reads these too.

import CShippedFiles

/// Files inside the binary.
public enum ShippedFiles {
    /// What begins their paths: `shipped:tiny-ioi/config.json`.
    public static let prefix = "shipped:"

    /// The folders, without the prefix.
    public static var folders: [String] {
        var found: [String] = []
        for file in all {
            let folder = String(file.path.prefix { $0 != "/" })
            if !found.contains(folder) { found.append(folder) }
        }
        return found
    }

    /// A file's bytes; nil for a path that names none.
    static func bytes(_ path: String) -> UnsafeRawBufferPointer? {
        name(path).flatMap { name in all.first { $0.path == name }?.bytes }
    }

    static func isFolder(_ path: String) -> Bool {
        name(path).map { folders.contains($0.hasSuffix("/") ? String($0.dropLast()) : $0) } ?? false
    }

    /// Names in a folder; none for a path that names no folder.
    static func names(in folder: String) -> [String] {
        guard let name = name(folder) else { return [] }
        let start = name.hasSuffix("/") ? name : name + "/"
        return all.filter { $0.path.hasPrefix(start) }.map { String($0.path.dropFirst(start.count)) }
    }

    /// The path without the prefix; nil for a path in the file system.
    private static func name(_ path: String) -> String? {
        path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : nil
    }

    // The bytes are constants of the program.
    private static var all: [(path: String, bytes: UnsafeRawBufferPointer)] {
        var count = 0
        guard let files = lens_shipped_files(&count) else { return [] }
        return UnsafeBufferPointer(start: files, count: count).map { (String(cString: $0.path), UnsafeRawBufferPointer(start: $0.bytes, count: $0.count)) }
    }
}
