// Checkpoints loaded in another format than they are stored in, or in their own: the same parameters as loading float32 and
// converting, whatever way a tensor lies in the file.

import LensFiles
import LensTestSupport
import Testing
import TinyModels
import TransformerLens

@Suite struct KeptCheckpointTests {
    /// Every tensor of a folder in two bytes, the rest as it is.
    private func halved(_ folder: String, _ half: ElementType, to target: String) throws {
        let file = try SafetensorsFile(path: folder + "/model.safetensors")
        let tensors = try file.names.map { name in
            let tensor = try Tensor(stored: name, in: file)
            let bits = tensor.array.map { half == .bf16 ? UInt16($0.bitPattern >> 16) : Float16($0).bitPattern }
            return try TensorContent(name, half, shape: tensor.shape, bytes: bits.withUnsafeBytes(Array.init))
        }
        try SafetensorsWriter.write(tensors, to: target + "/model.safetensors")
        let config = try AtomicFileWriter(path: target + "/config.json")
        try config.write(JSON.parse(file: folder + "/config.json", limit: 1 << 20, allowNonFinite: true).utf8())
        try config.commit()
    }

    private func expectSameParameters(_ a: Transformer, _ b: Transformer, _ what: String) throws {
        for (x, y) in zip(a.parameters.kept, b.parameters.kept) where x != y { Issue.record("\(what): \(x), \(y)") }
        for name in a.parameters.names { expectSameBits(try a.parameters[name], try b.parameters[name], "\(what): \(name)") }
    }

    @Test(arguments: CheckpointTests.folders)
    func everyFamilyInEveryFormat(folder: String) throws {
        let path = "\(TestFolders.goldens)/\(folder)", plain = try ModelFolder(path: path).load()
        for format in [WeightFormat.bfloat16, .q4_0] {
            let loaded = try ModelFolder(path: path, options: LoadOptions(dtype: format)).load()
            try expectSameParameters(loaded, plain.keeping(format), "\(folder) \(format)")
        }
    }

    /// Rows of whole blocks, stored input by input (Conv1D): quantised along the inputs all the same.
    @Test(arguments: WeightFormat.loadable)
    func conv1D(format: WeightFormat) throws {
        var tiny = TinyGPT2()
        (tiny.layers, tiny.headWidth) = (1, 16)
        try withTemporaryFolder { folder in
            try tiny.write(to: folder)
            let plain = try ModelFolder(path: folder).load()
            let loaded = try ModelFolder(path: folder, options: LoadOptions(dtype: format)).load()
            try expectSameParameters(loaded, plain.keeping(format), "\(format)")
            #expect(loaded.parameters.kept.filter { $0.name.contains(".W_") && $0.name != "pos_embed.W_pos" }.allSatisfy { $0.format == format })
            #expect(loaded.parameters.kept.first { $0.name == "pos_embed.W_pos" }?.format == (format.isQuantized ? .float32 : format))
        }
    }

    /// Two bytes stay two bytes with the very bits, and compute what they compute as float32.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gpt2-untied", "gemma2"], [ElementType.bf16, .f16])
    func twoBytesStay(folder: String, half: ElementType) throws {
        try withTemporaryFolder { target in
            try halved("\(TestFolders.goldens)/\(folder)", half, to: target)
            let own = try ModelFolder(path: target).load(), wide = try ModelFolder(path: target, options: LoadOptions(dtype: .float32)).load()
            #expect(own.parameters.format.rawValue == half.rawValue.lowercased() && wide.parameters.format == .float32)
            for kept in own.parameters.kept { #expect(kept.format == (kept.name.contains("W_") ? own.parameters.format : .float32), "\(kept)") }
            for name in own.parameters.names { expectSameBits(try own.parameters[name], try wide.parameters[name], name) }
            let tokens = try LawModels.tokens(own, batch: 2, pos: 9)
            expectSameBits(try own.run(.tokens(tokens)).logits, try wide.run(.tokens(tokens)).logits, "logits")
            // What does not fit the blocks stays in the file's own type.
            let quantised = try ModelFolder(path: target, options: LoadOptions(dtype: .q8_0)).load()
            for kept in quantised.parameters.kept { #expect([.float32, own.parameters.format, .q8_0].contains(kept.format), "\(kept)") }
        }
    }

    /// Fewer positions of a table in two bytes; a saved model kept in another format.
    @Test func cutAndSaved() throws {
        let path = "\(TestFolders.goldens)/gpt2-tiny"
        let cut = try ModelFolder(path: path, options: LoadOptions(nCtx: 5, dtype: .bfloat16)).load()
        let whole = try ModelFolder(path: path, options: LoadOptions(dtype: .bfloat16)).load()
        expectSameBits(try cut.parameters["pos_embed.W_pos"], try whole.parameters["pos_embed.W_pos"].at(.upTo(5)), "positions")
        try withTemporaryFolder { folder in
            try whole.save(to: folder)
            for format in [WeightFormat.bfloat16, .float32] {
                let back = try ModelFolder(path: folder, options: LoadOptions(dtype: format)).load()
                for name in whole.parameters.names { expectSameBits(try back.parameters[name], try whole.parameters[name], "\(format): \(name)") }
            }
        }
    }
}

/// Processing and kept formats together.
@Suite struct KeptProcessingTests {
    /// Rewritten weights are rounded once, from double precision, to what they are kept in: nowhere further from the float32
    /// model than half a unit of the format, and what is not rewritten keeps its bits.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gpt2-untied"], [WeightFormat.bfloat16, .float16, .q8_0])
    func roundedOnce(folder: String, format: WeightFormat) throws {
        let path = "\(TestFolders.goldens)/\(folder)"
        let wide = try HookedTransformer(folder: path), kept = try HookedTransformer(folder: path, options: LoadOptions(dtype: format))
        #expect(kept.processing == wide.processing && kept.config == wide.config)
        for parameter in kept.model.parameters.kept {
            let a = try wide[parameter.name].array, b = try kept[parameter.name].array
            let isPlain = !parameter.name.contains("W_") || (format.isQuantized && parameter.name == "pos_embed.W_pos")
            #expect((isPlain ? [.float32] : [format, .bfloat16]).contains(parameter.format), "\(parameter)")
            let unit: Float = parameter.format == .bfloat16 ? 0x1p-8 : parameter.format == .float16 ? 0x1p-11 : parameter.format == .float32 ? 0 : 0x1p-7
            let largest = a.map { abs($0) }.max() ?? 0
            for (x, y) in zip(a, b) where abs(x - y) > (parameter.format == .q8_0 ? largest : abs(x)) * unit * 1.001 + 0x1p-24 {
                Issue.record("\(folder) \(format) \(parameter.name): \(x), \(y)")
                break
            }
        }
    }

    /// Quantised files are loaded as they are; a step asked for by name is an error.
    @Test func quantisedFilesAreNotRewritten() throws {
        let path = TestFolders.goldens + "/gguf/llama-quantised.gguf"
        let model = try HookedTransformer(folder: path), plain = try ModelFolder(path: path).load()
        #expect(model.processing.done.isEmpty && model.processing.skipped.allSatisfy { $0.reason.contains("quantised") } && !model.processing.skipped.isEmpty)
        #expect(model.model.parameters.kept == plain.parameters.kept)
        expectError(.usage, "fold_ln", "quantised") { try HookedTransformer(folder: path, processing: .only(.foldLn)) }
        expectError(.usage, "quantised") { try plain.processWeights(WeightProcessing(foldLn: true)) }
    }
}
