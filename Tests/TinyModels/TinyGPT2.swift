// A tiny random GPT-2 as an ordinary Hugging Face folder: config.json, model.safetensors, tokenizer.json and
// tokenizer_config.json. The demo, the README's test and the command-line tests run it; the same numbers always come out
// the same bytes. It knows nothing; what it writes is noise in the right shape.

import LensFiles

/// What a tiny GPT-2 looks like. The defaults have every size odd enough to tell axes apart.
public struct TinyGPT2: Sendable {
    public var layers = 6
    public var heads = 4
    public var headWidth = 14
    public var context = 256
    public var seed: UInt64 = 1

    public init() {}

    public var width: Int { heads * headWidth }

    /// Writes the four files into `folder`, which must be there.
    /// - Throws: `LensError(.file)`.
    public func write(to folder: String) throws {
        try makeFolder(folder)
        try write(config, to: "\(folder)/config.json")
        try write(TinyTokenizer.json, to: "\(folder)/tokenizer.json")
        try write(TinyTokenizer.config, to: "\(folder)/tokenizer_config.json")
        try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: "\(folder)/model.safetensors")
    }

    private func write(_ json: JSON, to path: String) throws {
        let file = try AtomicFileWriter(path: path)
        try file.write(try json.utf8(pretty: true))
        try file.commit()
    }

    /// As Hugging Face writes GPT-2's.
    public var config: JSON {
        [
            "activation_function": "gelu_new", "architectures": ["GPT2LMHeadModel"], "attn_pdrop": 0.1,
            "bos_token_id": .int(TinyTokenizer.endOfText), "embd_pdrop": 0.1, "eos_token_id": .int(TinyTokenizer.endOfText),
            "initializer_range": 0.02, "layer_norm_epsilon": 1e-05, "model_type": "gpt2", "n_ctx": .int(context),
            "n_embd": .int(width), "n_head": .int(heads), "n_layer": .int(layers), "n_positions": .int(context),
            "resid_pdrop": 0.1, "summary_activation": nil, "summary_first_dropout": 0.1, "summary_proj_to_labels": true,
            "summary_type": "cls_index", "summary_use_proj": true, "vocab_size": .int(TinyTokenizer.size),
        ]
    }

    /// Under the names of `GPT2Model`'s checkpoints.
    public var tensors: [TensorContent] {
        get throws {
            var noise = Noise(state: seed)
            func tensor(_ name: String, _ shape: [Int], mean: Float = 0, spread: Float = 0.15) throws -> TensorContent {
                try TensorContent(name, shape: shape, (0..<shape.reduce(1, *)).map { _ in mean + spread * noise.next() })
            }
            func norm(_ name: String) throws -> [TensorContent] {
                [try tensor("\(name).weight", [width], mean: 1), try tensor("\(name).bias", [width])]
            }
            /// A Conv1D: weights `[in, out]`.
            func linear(_ name: String, _ rows: Int, _ columns: Int) throws -> [TensorContent] {
                [try tensor("\(name).weight", [rows, columns]), try tensor("\(name).bias", [columns])]
            }
            var all = [try tensor("wte.weight", [TinyTokenizer.size, width]), try tensor("wpe.weight", [context, width])]
            for layer in 0..<layers {
                all += try norm("h.\(layer).ln_1") + linear("h.\(layer).attn.c_attn", width, 3 * width)
                all += try linear("h.\(layer).attn.c_proj", width, width) + norm("h.\(layer).ln_2")
                all += try linear("h.\(layer).mlp.c_fc", width, 4 * width) + linear("h.\(layer).mlp.c_proj", 4 * width, width)
            }
            return try all + norm("ln_f")
        }
    }
}

/// Numbers of mean 0 and variance 1, near enough to normal: sums of uniform ones from SplitMix64.
struct Noise {
    var state: UInt64

    mutating func next() -> Float {
        var sum: Float = -6
        for _ in 0..<12 { sum += uniform() }
        return sum
    }

    private mutating func uniform() -> Float {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Float((z ^ (z >> 31)) >> 40) * 0x1p-24
    }
}
