// New models' parameters: the distributions that TransformerLens documents, measured on enough draws; and fields of a
// configuration.

import LensAnalysis
import LensFiles
import LensModel
import LensTensor
import Testing

@Suite struct InitializationTests {
    private static let config = Result {
        try ModelConfig(nLayers: 1, dModel: 48, nCtx: 40, dHead: 16, nHeads: 3, dMlp: 96, actFn: .gelu, dVocab: 64, dVocabOut: 50)
    }

    /// What a weight's deviation should be, by name.
    private static func deviation(_ mode: Initialization.Mode, _ range: Double?, _ name: String, _ fanIn: Double, _ fanOut: Double) -> Double {
        switch mode {
        case .gpt2: range ?? 0.8 / 48.0.squareRoot()
        case .xavierUniform, .xavierNormal: (range ?? 1) * (2 / (fanIn + fanOut)).squareRoot()
        case .kaimingUniform, .kaimingNormal: (range ?? 1) * (2 / fanIn).squareRoot()
        case .muP: name.contains("unembed") ? 1 / fanIn : name.contains("embed") ? 1 : 1 / fanIn.squareRoot()
        }
    }

    @Test(arguments: Initialization.Mode.allCases, [nil, 0.3])
    func distributions(mode: Initialization.Mode, range: Double?) throws {
        let model = try Transformer(config: Self.config.get(), initialization: Initialization(mode, range: range, seed: 3))
        let fans: [String: (Double, Double)] = ["embed.W_E": (64, 48), "pos_embed.W_pos": (40, 48), "blocks.0.attn.W_Q": (48, 48), "blocks.0.attn.W_O": (16, 144),
                                                "blocks.0.mlp.W_in": (48, 96), "blocks.0.mlp.W_out": (96, 48), "unembed.W_U": (48, 50)]
        for name in model.parameters.names {
            let values = try model.parameters[name].array.map(Double.init)
            guard let fan = fans[name] else {
                if name.contains("W_") { continue }
                #expect(values.allSatisfy { $0 == (name.hasSuffix(".w") ? 1 : 0) }, "\(name)")
                continue
            }
            let count = Double(values.count), mean = values.reduce(0, +) / count
            let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / count).squareRoot()
            let expected = Self.deviation(mode, range, name, fan.0, fan.1)
            #expect(abs(mean) < 5 * expected / count.squareRoot(), "\(name): mean \(mean)")
            #expect(abs(deviation / expected - 1) < 5 / (2 * count).squareRoot(), "\(name): \(deviation), expected \(expected)")
            let largest = values.reduce(0) { max($0, abs($1)) } / expected
            // A uniform number is within √3 deviations; a normal one, of thousands, is not.
            if mode == .xavierUniform || mode == .kaimingUniform { #expect(largest <= 3.0.squareRoot() + 1e-6 && largest > 1.6) } else { #expect(largest > 2.5 && largest < 6) }
        }
    }

    @Test func seedsAndParametersDrawApart() throws {
        let config = try Self.config.get()
        func draw(_ seed: UInt64) throws -> [String: Tensor] { try Initialization(seed: seed).parameters(for: config) }
        let one = try draw(1), again = try draw(1), two = try draw(2)
        #expect(one["embed.W_E"]?.array == again["embed.W_E"]?.array)
        #expect(one["embed.W_E"]?.array != two["embed.W_E"]?.array)
        #expect(one["blocks.0.attn.W_Q"]?.array != one["blocks.0.attn.W_K"]?.array)
    }

    @Test func fromAConfiguration() throws {
        let fields: JSON = ["init_mode": "kaiming_normal", "initializer_range": 0.5, "seed": 12]
        #expect(try Initialization(hookedTransformerConfig: fields) == Initialization(.kaimingNormal, range: 0.5, seed: 12))
        #expect(try Initialization(hookedTransformerConfig: ["initializer_range": -1.0]) == Initialization(.gpt2))
        #expect(throws: LensError.self) { try Initialization(hookedTransformerConfig: ["init_mode": "orthogonal"]) }
        #expect(throws: LensError.self) { try Initialization(hookedTransformerConfig: ["seed": "x"]) }
    }
}
