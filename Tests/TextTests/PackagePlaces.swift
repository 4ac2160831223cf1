// Where the tests find their files: beside the sources, and in ../shared, which not every checkout has.
import Testing
import LensFiles
@testable import LensText

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

enum Places {
    /// Tests/TextTests, from this file's own path.
    static let tests = folder(of: #filePath)
    static let goldens = tests + "/Goldens"
    /// The real vocabularies that lie beside the package.
    static let shared = folder(of: folder(of: folder(of: tests))) + "/shared/tokenizers"

    static func folder(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    static func hasShared(_ name: String) -> Bool { isFolder("\(shared)/\(name)") }

    static func json(_ path: String) throws -> JSON { try JSON.parse(try readFile(path) ?? [], at: path) }
}

extension JSON {
    /// A list of ids.
    func ids(at location: String) throws -> [Int] { try asArray(at: location).map { try $0.asInt(at: location) } }
}

/// The same text byte by byte (Swift's == would take canonically equivalent texts for the same).
func same(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
