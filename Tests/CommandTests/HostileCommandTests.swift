// Law 6 from outside: hostile files given to `tlens` end in exit code 1 with one line on stderr that says where, and nothing
// on stdout.

import LensFiles
import Testing
import TinyModels

@Suite struct HostileCommandTests {
    private static func tiny() throws -> TestFolder {
        let folder = try TestFolder()
        var tiny = TinyGPT2()
        (tiny.layers, tiny.heads, tiny.headWidth, tiny.context) = (1, 2, 6, 16)
        try tiny.write(to: folder.path)
        return folder
    }

    /// Runs the damaged model. The line must say `where`.
    private func refused(_ folder: TestFolder, _ place: String, _ what: String, source: SourceLocation = #_sourceLocation) async throws {
        let line = try await failure(["run", folder.path, "--tokens", "1,2"], at: source)
        #expect(line.contains(place), "\(what): \(line)", sourceLocation: source)
    }

    private static let hostileKeys: [(String, JSON, String)] = [
        ("n_layer", 1_000_000_000, "n_layers"), ("n_layer", -1, "n_layers"), ("n_layer", 60_000, "fewer tensors"), ("n_layer", 2, "missing tensor"),
        ("n_head", 0, "n_head"), ("n_head", 5, "n_head"), ("n_head", 1e308, "n_head"), ("n_embd", "wide", "n_embd"), ("n_embd", .int(.max), ""),
        ("n_embd", 14, "wrong shape"), ("n_inner", 1e308, "n_inner"), ("n_positions", 17, "wpe.weight"), ("vocab_size", 1_000_000_000, "wte.weight"),
        ("layer_norm_epsilon", -1, "eps"), ("layer_norm_epsilon", .double(.nan), "eps"), ("layer_norm_epsilon", .array([]), "layer_norm_epsilon"),
        ("activation_function", "mish", "activation_function"), ("architectures", .array(["Mamba"]), "unknown architecture"), ("n_lairs", 3, "n_lairs"),
        ("scale_attn_weights", "yes", "scale_attn_weights"), ("add_cross_attention", true, "add_cross_attention"), ("n_embd\u{1B}[31m", 1, "\\u{1b}"),
    ]

    @Test(arguments: hostileKeys)
    func configurations(_ key: String, _ value: JSON, _ message: String) async throws {
        let folder = try Self.tiny()
        var config = try JSON.parse(file: folder("config.json")).asObject(at: "config")
        config[key] = value
        try folder.write("config.json", try JSON.object(config).utf8(nonFinite: .python))
        try await refused(folder, message.isEmpty ? "Error" : message, "\(key): \(value.summary)")
        #expect(try await failure(["info", folder.path]).isEmpty == false)
    }

    /// Headers of a checkpoint, changed as text; the same length, so that offsets still point into the data.
    @Test(arguments: [
        ("wrong dtype", "\"dtype\":\"F32\"", "\"dtype\":\"I32\""), ("unknown dtype", "\"dtype\":\"F32\"", "\"dtype\":\"Q99\""),
        ("missing and extra tensor", "ln_f.bias", "ln_f.bits"), ("overlap or hole", "\"data_offsets\":[0,", "\"data_offsets\":[4,"),
        ("wrong shape", "\"shape\":[12]", "\"shape\":[21]"), ("negative shape", "\"shape\":[12]", "\"shape\":[-2]"), ("name given twice", "ln_1.bias", "ln_2.bias"),
        ("no object", "{\"", "[\""), ("bad escape", "wte.weight", "wte\\weight"),
    ])
    func headers(_ what: String, _ before: String, _ after: String) async throws {
        let folder = try Self.tiny(), bytes = try folder.bytes("model.safetensors")
        let place = try #require(firstPlace(of: Array(before.utf8), in: bytes))
        try folder.write("model.safetensors", bytes[..<place] + Array(after.utf8) + bytes[(place + before.utf8.count)...])
        try await refused(folder, "model.safetensors", what)
    }

    @Test func lengths() async throws {
        let folder = try Self.tiny(), bytes = try folder.bytes("model.safetensors")
        for length: UInt64 in [0, 1, 7, 1 << 20, 1 << 40, 1 << 63, .max] {
            try folder.write("model.safetensors", (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + bytes[8...])
            try await refused(folder, "model.safetensors", "header length \(length)")
        }
        for count in [0, 4, 8, 100, bytes.count / 2, bytes.count - 1] {
            try folder.write("model.safetensors", Array(bytes[..<count]))
            try await refused(folder, "model.safetensors", "cut to \(count)")
        }
        try folder.write("model.safetensors", bytes + [0])
        try await refused(folder, "model.safetensors", "a byte too many")
    }

    @Test func tokenizers() async throws {
        let folder = try Self.tiny(), whole = try folder.read("tokenizer.json")
        for (before, after, message) in [("H e", "H \\u00e9\\u00e9", "bad"), ("\"version\": \"1.0\"", "\"version\": \"9\"", "version"), ("\"type\": \"BPE\"", "\"type\": \"Unigram\"", "model"),
                                         ("\"merges\": [", "\"merges\": [[[[", ""), ("\"vocab\": {", "\"vocab\": [", ""), (whole, "", "tokenizer.json")] {
            let place = try #require(firstPlace(of: Array(before.utf8), in: Array(whole.utf8)), "\(before.prefix(30))")
            let bytes = Array(whole.utf8)
            try folder.write("tokenizer.json", bytes[..<place] + Array(after.utf8) + bytes[(place + before.utf8.count)...])
            let line = try await failure(["tokenize", folder.path, "Hello"])
            #expect(line.contains("tokenizer.json") && (message.isEmpty || message == "bad" || line.contains(message)), "\(line)")
            try await refused(folder, "tokenizer.json", "\(before.prefix(30))")
        }
    }

    /// What is not there, and what is no file.
    @Test func filesAndFolders() async throws {
        for name in ["config.json", "model.safetensors"] {
            let folder = try Self.tiny()
            try folder.remove(name)
            try await refused(folder, name == "config.json" ? "no model in this folder" : "no weights", "without \(name)")
            try makeFolder(folder(name))
            try await refused(folder, "a folder", "a folder in place of \(name)")
        }
    }

    /// A few dozen random accidents, each a process of its own: 0 or 1, never a signal.
    @Test func accidents() async throws {
        let folder = try Self.tiny()
        var random = Random(state: 7)
        for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
            let whole = try folder.bytes(name)
            for round in 0..<12 {
                try folder.write(name, damaged(whole, structured: 1_000, &random))
                let finished = try await tlens(["run", folder.path, "--prompt", "Hello", "--cache", "all", "--json"])
                if finished.code == 0 {
                    #expect(finished.err.isEmpty)
                    _ = try JSON.parse(Array(finished.out.utf8), at: "stdout")
                } else {
                    #expect(finished.code == 1 && finished.out.isEmpty && finished.errorLines.count == 1, "\(name), round \(round): \(finished.signal ?? 0) \(finished.err)")
                }
            }
            try folder.write(name, whole)
        }
    }

    private func firstPlace(of wanted: [UInt8], in bytes: [UInt8]) -> Int? {
        guard bytes.count >= wanted.count else { return nil }
        return (0...bytes.count - wanted.count).first { bytes[$0..<$0 + wanted.count].elementsEqual(wanted) }
    }
}
