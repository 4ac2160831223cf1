// Loading takes little more memory than what is kept: from any file, processed or not, in any format. A model of GPT-2 small's
// proportions, a fifth of its size, whose file is a header and a hole: all its weights are zeros, and take no disk.

import Foundation
import LensFiles
import Testing
import TinyModels

@Suite struct LoadMemoryTests {
    private static let layers = 12, width = 384, vocabulary = 12_564, context = 256

    /// The shapes of Hugging Face's GPT-2.
    private static var shapes: [(String, [Int])] {
        var shapes = [("wte.weight", [vocabulary, width]), ("wpe.weight", [context, width])]
        for layer in (0..<layers).map({ "h.\($0)" }) {
            for norm in ["ln_1", "ln_2"] { shapes += [("\(layer).\(norm).weight", [width]), ("\(layer).\(norm).bias", [width])] }
            for (name, rows, columns) in [("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width), ("mlp.c_fc", width, 4 * width),
                                          ("mlp.c_proj", 4 * width, width)] {
                shapes += [("\(layer).\(name).weight", [rows, columns]), ("\(layer).\(name).bias", [columns])]
            }
        }
        return shapes + [("ln_f.weight", [width]), ("ln_f.bias", [width])]
    }

    /// The same under TransformerLens' names.
    private static var savedShapes: [(String, [Int])] {
        let (heads, d) = (6, width)
        var shapes = [("embed.W_E", [vocabulary, d]), ("pos_embed.W_pos", [context, d]), ("unembed.W_U", [d, vocabulary]), ("unembed.b_U", [vocabulary]),
                      ("ln_final.w", [d]), ("ln_final.b", [d])]
        for block in (0..<layers).map({ "blocks.\($0)" }) {
            for norm in ["ln1", "ln2"] { shapes += [("\(block).\(norm).w", [d]), ("\(block).\(norm).b", [d])] }
            for name in ["Q", "K", "V"] { shapes += [("\(block).attn.W_\(name)", [heads, d, d / heads]), ("\(block).attn.b_\(name)", [heads, d / heads])] }
            shapes += [("\(block).attn.W_O", [heads, d / heads, d]), ("\(block).attn.b_O", [d]), ("\(block).mlp.W_in", [d, 4 * d]), ("\(block).mlp.b_in", [4 * d]),
                       ("\(block).mlp.W_out", [4 * d, d]), ("\(block).mlp.b_out", [d])]
        }
        return shapes
    }

    private static func count(_ shapes: [(String, [Int])]) -> Int { shapes.reduce(0) { $0 + $1.1.reduce(1, *) } }

    private func write(_ shapes: [(String, [Int])], bytes: Int, to path: String) throws {
        var offset = 0, header: [(String, JSON)] = []
        for (name, shape) in shapes {
            let size = shape.reduce(1, *) * bytes
            header.append((name, ["dtype": .string(bytes == 2 ? "F16" : "F32"), "shape": .array(shape.map { .int($0) }), "data_offsets": [.int(offset), .int(offset + size)]]))
            offset += size
        }
        var text = try Array(JSON.object(JSONObject(header)).utf8())
        text += [UInt8](repeating: UInt8(ascii: " "), count: -text.count & 7)
        try Data((0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text).write(to: URL(fileURLWithPath: path))
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.truncate(atOffset: UInt64(8 + text.count + offset))
        try file.close()
    }

    private func peak(_ model: String, _ options: [String]) async throws -> Int? {
        let run = try await tlens(["run", model, "--tokens", "1,2,3", "--top", "1"] + options)
        #expect(run.code == 0, "\(run.err)")
        return run.peakMemory
    }

    @Test(arguments: [("hf", 4, [], 4), ("hf", 4, ["--processing", "none"], 4), ("hf", 4, ["--dtype", "f16"], 2), ("hf", 2, ["--dtype", "bf16"], 2),
                      ("hf", 2, [], 4), ("saved", 4, [], 4), ("saved", 4, ["--processing", "none"], 4)] as [(String, Int, [String], Int)])
    func peakIsLittleMoreThanWhatIsKept(_ names: String, _ stored: Int, _ options: [String], _ kept: Int) async throws {
        let folder = try TestFolder(), tiny = try TestFolder(), isSaved = names == "saved", shapes = isSaved ? Self.savedShapes : Self.shapes
        var config = TinyGPT2()
        config.layers = 1
        try config.write(to: tiny.path)
        try write(shapes, bytes: stored, to: folder("model.safetensors"))
        if isSaved {
            let json: JSON = ["d_model": .int(Self.width), "n_layers": .int(Self.layers), "n_heads": 6, "d_head": .int(Self.width / 6), "d_mlp": .int(4 * Self.width),
                              "n_ctx": .int(Self.context), "d_vocab": .int(Self.vocabulary), "act_fn": "gelu_new", "normalization_type": "LN"]
            try folder.write("config.json", json.text())
        } else {
            let json: JSON = ["model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": .int(Self.width), "n_layer": .int(Self.layers), "n_head": 6,
                              "n_positions": .int(Self.context), "vocab_size": .int(Self.vocabulary), "activation_function": "gelu_new"]
            try folder.write("config.json", json.text())
        }
        guard let base = try await peak(tiny.path, options), let most = try await peak(folder.path, options) else { return }
        // Processed, tied embeddings are two.
        let isSplit = !isSaved && !options.contains("none"), held = kept * (Self.count(shapes) + (isSplit ? Self.vocabulary * Self.width : 0))
        #expect(Double(most - base) <= 1.3 * Double(held), "\(names), \(stored) bytes, \(options): \((most - base) >> 20) MiB for \(held >> 20) MiB")
        // It was seen, and is there whole.
        #expect(most - base >= held - held / 8)
    }
}
