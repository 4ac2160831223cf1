// A folder of one test's own, gone with it; and small helpers to make files and to look at errors.
import Foundation
import LensFiles
import Testing

/// A fresh folder, removed with everything in it when the last reference goes.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("lens-files-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of `name` in the folder.
    func callAsFunction(_ name: String) -> String { path + "/" + name }

    /// Writes `bytes` to a file and returns its path.
    @discardableResult
    func file(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: self(name)))
        return self(name)
    }

    @discardableResult
    func file(_ name: String, _ text: String) throws -> String { try file(name, Array(text.utf8)) }

    var contents: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}

func bytes(at path: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path))) }

/// The error that `body` throws; a failure of the test if it throws none or one that is no LensError.
func lensError(_ body: () throws -> Void, _ what: Comment? = nil, at place: SourceLocation = #_sourceLocation) -> LensError {
    do {
        try body()
        Issue.record("nothing was thrown: \(what?.description ?? "")", sourceLocation: place)
    } catch let error as LensError {
        #expect(!error.description.contains("\n"), sourceLocation: place)
        return error
    } catch {
        Issue.record("another error than LensError: \(error)", sourceLocation: place)
    }
    return LensError(.usage, "no error")
}

/// A generator of the same numbers every time (SplitMix64).
struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

extension TensorSource {
    /// A tensor's values, for comparison.
    func values<T>(of name: String, as type: T.Type) throws -> [T] {
        try bytes(of: name).withUnsafeBytes { raw in
            (0..<(raw.count / MemoryLayout<T>.size)).map { raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self) }
        }
    }
}
