// Models whose weights are kept in two bytes or quantised: what is computed is exact about what is kept, every law holds, and
// how far each format is from float32 is stated.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

/// Models in every format: those whose rows fill blocks of 32 for what can be quantised here, of 256 for what comes from files.
enum KeptModels {
    /// Eight heads in rows of 96 or 256: heads begin and end inside blocks.
    private static func config(_ dModel: Int, _ dMlp: Int, tied: Bool) throws -> ModelConfig {
        var config = try ModelConfig(nLayers: 2, dModel: dModel, nCtx: 200, dHead: dModel / 8, nHeads: 8, dMlp: dMlp, actFn: .silu, dVocab: 97,
                                 normalizationType: "RMS", position: .rotary(Rotary(dim: dModel / 8 / 2 * 2)), gatedMLP: true, nKeyValueHeads: 4)
        config.tiesEmbeddings = tied
        return config
    }

    private static let made = Dictionary(uniqueKeysWithValues: WeightFormat.allCases.map { format in (format, Result { try make(format, tied: false) }) })

    static func named(_ format: WeightFormat, tied: Bool = false) throws -> Transformer {
        if !tied, let model = made[format] { return try model.get() }
        return try make(format, tied: tied)
    }

    private static func make(_ format: WeightFormat, tied: Bool) throws -> Transformer {
        if format.packsNumbers { return try Transformer.random(config(96, 160, tied: tied), seed: 3).keeping(format) }
        // Blocks of random bits, their scales ordinary numbers, as large as weights are.
        let config = try config(256, 256, tied: tied), plain = try Transformer.random(config, seed: 3)
        var random = SeededRandom(11)
        var values: [String: Parameter] = [:]
        for kept in plain.parameters.kept {
            values[kept.name] = try plain.parameters.blocks(kept.name, format, &random)
        }
        return try Transformer(config: config, parameters: Parameters(values, for: config))
    }
}

extension Parameters {
    /// One parameter as random blocks of a format; biases and norms as they are.
    fileprivate func blocks(_ name: String, _ format: WeightFormat, _ random: inout SeededRandom) throws -> Parameter {
        let scalesAt: [WeightFormat: [Int]] = [.q4_1: [0, 2], .q5_1: [0, 2], .q4_K: [0, 2], .q5_K: [0, 2], .q2_K: [80, 82], .q3_K: [108], .q6_K: [208]]
        let size: [WeightFormat: Float] = [.q4_1: 0.02, .q5_0: 0.01, .q5_1: 0.01, .q2_K: 0.01, .q3_K: 0.0015, .q4_K: 0.0004, .q5_K: 0.0002, .q6_K: 0.00005]
        let shape = try self[name].shape
        guard name.contains("W_"), !name.hasSuffix("W_pos") else { return .tensor(try self[name]) }
        let isTable = name.hasSuffix("W_E")
        let rows = isTable ? shape[1] : name.hasSuffix("W_O") ? shape[0] * shape[1] : shape[shape.count - 2]
        let columns = shape.reduce(1, *) / rows
        let count = rows / format.blockRows * columns * format.blockBytes
        var bytes = (0..<(count + 7) / 8).map { _ in random.next() }.withUnsafeBytes { Array($0.prefix(count)) }
        for block in stride(from: 0, to: bytes.count, by: format.blockBytes) {
            for place in scalesAt[format] ?? [0] {
                let half = Float16(random.unit() * (size[format] ?? 0.01)).bitPattern
                (bytes[block + place], bytes[block + place + 1]) = (UInt8(truncatingIfNeeded: half), UInt8(half >> 8))
            }
        }
        let matrix = try PackedMatrix(rows: rows, columns: columns, format: format) { writer in
            try bytes.withUnsafeBytes { try writer.packBlocks(columns: 0..<columns, from: $0) }
        }
        return isTable ? .table(matrix) : .matrix(matrix)
    }
}

@Suite(.serialized) struct WeightFormatTests {
    static let formats = WeightFormat.allCases.filter { $0 != .float32 }

    /// A model computes what a float32 model of the very values it keeps computes, every activation to the bit.
    @Test(arguments: formats, [false, true])
    func equalsTheModelOfItsValues(format: WeightFormat, tied: Bool) throws {
        let model = try KeptModels.named(format, tied: tied)
        let names = model.parameters.names.filter { !(tied && $0 == "embed.W_E") }
        let values = try Dictionary(uniqueKeysWithValues: names.map { ($0, try model.parameters[$0]) })
        let plain = try Transformer(config: model.config, parameters: values)
        let tokens = try LawModels.tokens(model, batch: 2, pos: 70)
        let kept = try model.run(.tokens(tokens), .init(cache: .all)), expected = try plain.run(.tokens(tokens), .init(cache: .all))
        expectSameBits(kept.logits, expected.logits, "\(format): logits")
        expectSameBits(kept.cache, expected.cache, "\(format)")
        #expect(kept.logits?.array.allSatisfy(\.isFinite) == true)
        // Embeddings are what the table says.
        if tied { expectSameBits(try model.parameters["embed.W_E"], try model.parameters["unembed.W_U"].permuted(1, 0), "tied") }
        // All but norms is in the format, and is as small as the format says.
        for parameter in model.parameters.kept where parameter.name.contains("W_") {
            #expect(parameter.format == format)
            #expect(parameter.byteCount >= parameter.shape.reduce(1, *) * format.blockBytes / format.blockRows)
        }
        #expect(model.parameters.format == format && model.parameters.isQuantized == format.isQuantized)
    }

    /// Looking changes nothing; heads' results, split inputs and single heads' columns are exact too.
    @Test(arguments: formats)
    func looking(format: WeightFormat) throws {
        let model = try KeptModels.named(format), tokens = try LawModels.tokens(model, batch: 2, pos: 9)
        let plain = try model.run(.tokens(tokens)).logits
        for hooks in [[identityEdit(.all)], [identityEdit("blocks.*.attn.hook_result")], [identityEdit("blocks.*.hook_q_input"), identityEdit("blocks.*.hook_v_input")]] {
            expectSameBits(try model.run(.tokens(tokens), .init(hooks: hooks)).logits, plain, "\(format)")
        }
        let all = try model.run(.tokens(tokens), .init(cache: ["blocks.*.attn.hook_result", "z"])).cache
        for layer in 0..<2 {
            let result = try all["blocks.\(layer).attn.hook_result"], z = try all["blocks.\(layer).attn.hook_z"]
            let w = try model.parameters["blocks.\(layer).attn.W_O"]
            for head in [0, 3, 7] {
                let packed = try PackedMatrix(w.at(.at(head)))
                expectSameBits(try result.at(.all, .all, .at(head)), try packed.product(z.at(.all, .all, .at(head)), block: model.config.dHead).out, "head \(head)")
            }
        }
    }

    @Test(arguments: formats)
    func rowsAloneThreadsAndDecoding(format: WeightFormat) throws {
        let model = try KeptModels.named(format), tokens = try LawModels.tokens(model, batch: 3, pos: 66)
        let whole = try #require(try model.run(.tokens(tokens)).logits)
        for row in 0..<3 {
            let one = try IntTensor(Array(tokens.array[row * 66..<(row + 1) * 66]), shape: [1, 66])
            expectSameBits(try model.run(.tokens(one)).logits, try whole.at(.range(row..<row + 1)), "\(format): row \(row)")
            guard row == 0 else { continue }
            // The prompt at once, then a token at a time.
            var cache: KeyValueCache? = KeyValueCache(for: model.config, batch: 1)
            var parts = [try #require(try model.run(.tokens(IntTensor(Array(one.array[..<5]), shape: [1, 5])), keyValues: &cache).logits)]
            for token in one.array[5...] {
                parts.append(try #require(try model.run(.tokens(IntTensor([token], shape: [1, 1])), keyValues: &cache).logits))
            }
            for (index, part) in parts.enumerated() {
                let range = index == 0 ? 0..<5 : index + 4..<index + 5
                expectSameBits(part, try whole.at(.range(0..<1), .range(range)), "\(format): positions \(range)")
            }
        }
        let threads = Kernels.threads
        defer { Kernels.threads = threads }
        Kernels.threads = 1
        expectSameBits(try model.run(.tokens(tokens)).logits, whole, "\(format): one thread")
    }

    /// A replaced parameter is float32; the rest stays as it is.
    @Test(arguments: formats)
    func replacing(format: WeightFormat) throws {
        let model = try KeptModels.named(format), name = "blocks.1.mlp.W_in"
        let changed = try model.with(name, model.parameters[name])
        expectSameBits(try changed.parameters[name], try model.parameters[name], name)
        for kept in changed.parameters.kept where kept.name.contains("W_") { #expect(kept.format == (kept.name == name ? .float32 : format)) }
        let tokens = try LawModels.tokens(model, batch: 1, pos: 7)
        expectSameBits(try changed.run(.tokens(tokens)).logits, try model.run(.tokens(tokens)).logits, "\(format)")
    }

    /// What does not fit a quantised format is kept in two bytes, and the list says so.
    @Test func whatDoesNotFit() throws {
        let model = try Models.named("llama-grouped")
        for format in [WeightFormat.q8_0, .q4_0] {
            let kept = try model.keeping(format).parameters.kept
            for parameter in kept where parameter.name.contains("W_") { #expect([.bfloat16, format].contains(parameter.format), "\(parameter)") }
            #expect(kept.contains { $0.format == .bfloat16 })
        }
        expectError(.usage, "q4_K") { try model.keeping(.q4_K) }
        #expect(try model.keeping(.float16).parameters.byteCount < model.parameters.byteCount * 6 / 10)
    }

    /// Mean KL divergence of next-token distributions, in nats, from a model in float32 to the same in `format`.
    private func divergence(_ model: Transformer, _ format: WeightFormat, _ tokens: IntTensor) throws -> Double {
        func logProbs(_ model: Transformer) throws -> [Float] { try #require(try model.run(.tokens(tokens)).logits).logSoftmax().array }
        let p = try logProbs(model), q = try logProbs(model.keeping(format))
        return zip(p, q).reduce(0) { $0 + exp(Double($1.0)) * (Double($1.0) - Double($1.1)) } / Double(tokens.array.count)
    }

    /// How far each format is, on a trained model of 260 thousand parameters (a large one loses less) and on random ones.
    @Test(arguments: [(WeightFormat.bfloat16, 1e-3), (.float16, 2e-5), (.q8_0, 2e-3), (.q4_0, 0.2)])
    func errorIsBounded(format: WeightFormat, bound: Double) throws {
        var models = [("random", try Transformer.random(KeptModels.named(.float32).config, seed: 5))]
        let folder = TestFolders.shared + "/models/stories260K"
        if FileManager.default.fileExists(atPath: folder + "/config.json") { models.append(("stories", try ModelFolder(path: folder).load())) }
        for (name, model) in models {
            let divergence = try divergence(model, format, LawModels.tokens(model, batch: 2, pos: 60))
            #expect(divergence < bound && divergence > -1e-6, "\(name) \(format): \(divergence)")
        }
    }
}
