// What a checkpoint must hold: every tensor of its configuration and no other, in any of the precisions that are read.

import LensFiles
import LensTensor
import LensTestSupport
import Testing
@testable import LensZoo
import TransformerLens

@Suite struct CheckpointTests {
    /// Hugging Face folders with their tensors in one file.
    static let folders: [String] = TestFolders.familyNames.filter { fileExists("\(TestFolders.goldens)/\($0)/model.safetensors") }

    /// A model folder in memory: a configuration and a source of tensors.
    private struct Tensors: TensorSource {
        let base: SafetensorsFile
        var without: String?
        var extra: (name: String, like: String)?
        /// Stored as two bytes an element: `.bf16` or `.f16`.
        var half: ElementType?

        var location: String { base.location }
        var names: [String] { base.names.filter { $0 != without } + [extra?.name].compactMap(\.self) }

        func entry(_ name: String) -> TensorEntry? {
            if name == without { return nil }
            let entry = base.entry(name == extra?.name ? extra?.like ?? name : name)
            guard let half, let entry else { return entry }
            return try? TensorEntry(name: name, dtype: half, shape: entry.shape, at: location)
        }

        func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
            let stored = name == extra?.name ? extra?.like ?? name : name
            guard let half else { return try base.read(stored, elementOffset: elementOffset, elementCount: elementCount, into: buffer) }
            var values = [Float](repeating: 0, count: elementCount)
            try values.withUnsafeMutableBytes { try base.read(stored, elementOffset: elementOffset, elementCount: elementCount, into: $0) }
            for (index, value) in values.enumerated() {
                buffer.storeBytes(of: Self.bits(value, half), toByteOffset: 2 * index, as: UInt16.self)
            }
        }

        /// A value's upper half, or its half-precision bits.
        static func bits(_ value: Float, _ half: ElementType) -> UInt16 {
            half == .bf16 ? UInt16(value.bitPattern >> 16) : Float16(value).bitPattern
        }
    }

    private func tensors(_ name: String) throws -> Tensors {
        Tensors(base: try SafetensorsFile(path: "\(TestFolders.goldens)/\(name)/model.safetensors"))
    }

    private func load(_ name: String, _ tensors: Tensors) throws -> Transformer {
        let folder = try ModelFolder(path: "\(TestFolders.goldens)/\(name)")
        let architecture = try #require(folder.architecture)
        let config = architecture.settled(folder.config, tensors)
        return try Transformer(config: config, parameters: WeightLoader(architecture: architecture, config: config, tensors: tensors).load())
    }

    /// Every tensor is needed: a model never runs with zeros in the place of what is missing.
    @Test(arguments: folders)
    func eachTensorIsNeeded(_ name: String) throws {
        let whole = try tensors(name)
        _ = try load(name, whole)
        // What a multimodal folder holds besides its text model is left alone; so is what says the same twice, and a head that a
        // checkpoint may lack.
        let spare = ["vision_tower", "multi_modal", "position_ids", "decoder.embed_tokens", "encoder.embed_tokens", "EncDecAttention.relative", "pooler",
                     "seq_relationship", "cls.predictions.decoder", "cls.predictions.bias", "lm_head.bias", "lm_head.decoder"]
        let isT5 = name.hasPrefix("t5")
        for missing in whole.names where !spare.contains(where: { missing.contains($0) }) {
            if isT5, ["shared.weight", "lm_head.weight"].contains(missing) { continue }
            var cut = whole
            cut.without = missing
            let error = #expect(throws: LensError.self, "\(name) without \(missing)") { try load(name, cut) }
            // In a multimodal folder one part of the name is another's prefix.
            let bare = missing.hasPrefix("language_model.lm") ? String(missing.dropFirst("language_model.".count)) : missing
            #expect(error?.kind == .weights && error?.expected?.contains(bare) == true, "\(missing): \(error.map(String.init(describing:)) ?? "loaded")")
        }
    }

    @Test(arguments: folders)
    func noOtherTensorIsTaken(_ name: String) throws {
        var more = try tensors(name)
        more.extra = ("no_such.weight", more.names[0])
        let error = #expect(throws: LensError.self) { try load(name, more) }
        #expect(error?.description.contains("no_such.weight") == true)
    }

    /// Biases are there where the configuration says so, and nowhere else.
    @Test func biasesAreAsConfigured() throws {
        for (name, key, value) in [("llama-bias", "attention_bias", JSON.bool(false)), ("llama-bias", "mlp_bias", false), ("llama-grouped", "attention_bias", true)] {
            let path = "\(TestFolders.goldens)/\(name)/config.json"
            var object = try #require(JSON.parse(file: path, limit: 1 << 20).objectValue)
            object[key] = value
            let config = try Architecture.llama.modelConfig(.object(object), at: path)
            let loader = WeightLoader(architecture: .llama, config: config, tensors: try tensors(name))
            #expect(throws: LensError.self, "\(name) with \(key) \(value.summary)") { try loader.load() }
        }
    }

    /// Two-byte weights load as the float32 numbers they are.
    @Test(arguments: [ElementType.bf16, .f16])
    func halfPrecision(_ half: ElementType) throws {
        for name in ["gpt2-tiny", "llama-grouped"] {
            var stored = try tensors(name)
            stored.half = half
            let halved = try load(name, stored), whole = try load(name, tensors(name))
            for parameter in whole.parameters.names {
                let expected = try whole.parameters[parameter].array.map { value -> Float in
                    let bits = Tensors.bits(value, half)
                    return half == .bf16 ? Float(bitPattern: UInt32(bits) << 16) : Float(Float16(bitPattern: bits))
                }
                #expect(try halved.parameters[parameter].array == expected, "\(name): \(parameter)")
            }
        }
    }

    @Test func twoSpellingsOfRotaryEmbeddingAreRefused() throws {
        let path = "\(TestFolders.goldens)/llama-rope-linear/config.json"
        var object = try #require(JSON.parse(file: path, limit: 1 << 20).objectValue)
        object["rope_scaling"] = ["rope_type": "linear", "factor": 4.0]
        let error = #expect(throws: LensError.self) { try Architecture.llama.modelConfig(.object(object), at: path) }
        #expect(error?.description.contains("rope_scaling") == true)
    }

    /// Rows of the embedding that are no token of the tokenizer have no text, and do not stop a run.
    @Test func vocabularyPaddedPastTheTokenizer() throws {
        let text = """
            {"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
             "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
             "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}
            """
        let model = HookedTransformer(try LawModels.named("gpt2-tiny"), tokenizer: try Tokenizer(json: JSON.parse(text)))
        #expect(try model.toStrTokens([0, 90, 1]) == ["a", "", "b"])
        #expect(try model.toString([90, 1, 2, 0]) == "ba")
        #expect(try model.generate("ab", maxNewTokens: 8, sampling: .greedy, prependBOS: false).hasPrefix("ab"))
        #expect(throws: LensError.self) { try model.toString([97]) }
    }
}
