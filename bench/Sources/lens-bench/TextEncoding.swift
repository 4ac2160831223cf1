// Encoding text, on one thread: megabytes a second, and how the time of a single word grows with its length.
// bench/python/text.py runs this beside Hugging Face tokenizers and compares the tokens first.

import ArgumentParser
import Foundation
import TransformerLens

struct TextEncoding: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "text", abstract: "Time a tokenizer on a file.")

    @Argument(help: "A folder with a tokenizer, or a tokenizer's file.") var tokenizer: String
    @Argument(help: "A text in UTF-8; repeatable: each is timed by itself.") var files: [String]
    @Option(help: "Seconds for each file.") var seconds = 2.0
    @Option(help: "Write the tokens of all files, one after another, to F, 32-bit little-endian.") var dump: String?
    @Flag(help: "Use one tokenizer for all runs. It remembers words, if they are not long.") var one = false

    func run() throws {
        var isDirectory: ObjCBool = false
        let isFolder = FileManager.default.fileExists(atPath: tokenizer, isDirectory: &isDirectory) && isDirectory.boolValue
        func load() throws -> Tokenizer { isFolder ? try Tokenizer(folder: tokenizer) : try Tokenizer(file: tokenizer) }
        let loading = try Timing(seconds: seconds) { _ = try load() }
        let encoder = try load()
        var results: [JSON] = [], tokens: [UInt32] = []
        for file in files {
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
            let ids = try encoder.encode(utf8: bytes, addSpecialTokens: false)
            if dump != nil { tokens += ids.map { UInt32(truncatingIfNeeded: $0).littleEndian } }
            // A tokenizer remembers words: unless told otherwise each run gets a new one, as the first run of a program has.
            var runs: [Double] = []
            while runs.count < 3 || runs.reduce(0, +) < seconds {
                let fresh = one ? encoder : try load()
                let begin = ContinuousClock.now
                _ = try fresh.encode(utf8: bytes, addSpecialTokens: false)
                runs.append(Timing.since(begin))
            }
            results.append(["file": .string(file), "bytes": .int(bytes.count), "tokens": .int(ids.count),
                            "median_s": .double(runs.sorted()[runs.count / 2]), "best_s": .double(runs.min() ?? 0)])
        }
        if let dump { try tokens.withUnsafeBufferPointer { Data(buffer: $0) }.write(to: URL(fileURLWithPath: dump)) }
        let report: JSON = ["loading": .object(loading.json), "results": .array(results)]
        print(try report.text(pretty: true))
    }
}
