// Folders of the tests' own, gone with them, and the models in them.

import Foundation
import LensFiles
import TinyModels

/// A fresh folder, removed with everything in it when the last reference goes.
final class TestFolder: Sendable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("lens-command-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    /// The path of `name` in the folder.
    func callAsFunction(_ name: String) -> String { path + "/" + name }

    @discardableResult
    func write(_ name: String, _ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: self(name)))
        return self(name)
    }

    @discardableResult
    func write(_ name: String, _ text: String) throws -> String { try write(name, Array(text.utf8)) }

    @discardableResult
    func write(_ name: String, _ json: JSON) throws -> String { try write(name, try json.utf8()) }

    func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: self(name)))) }

    func read(_ name: String) throws -> String { String(decoding: try bytes(name), as: UTF8.self) }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: self(name)) }

    var contents: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() } }
}

/// Models the tests share, made once.
enum Models {
    private static let made: Result<TestFolder, Error> = Result {
        let folder = try TestFolder()
        try TinyGPT2().write(to: folder("gpt2"))
        try makeFolder(folder("no-text"))
        for name in ["config.json", "model.safetensors"] {
            try FileManager.default.copyItem(atPath: folder("gpt2/\(name)"), toPath: folder("no-text/\(name)"))
        }
        return folder
    }

    /// A tiny random GPT-2: 6 layers, 4 heads, context 256, with a tokenizer.
    static var gpt2: String { get throws { try made.get()("gpt2") } }
    /// The same without a tokenizer.
    static var noText: String { get throws { try made.get()("no-text") } }
    /// Tests/ModelTests/Goldens, from this file's own path.
    static let goldens = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/ModelTests/Goldens"
}
