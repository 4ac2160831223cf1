// A configuration written in TransformerLens' fields, and ours beside them, is read back as it was: no mechanism is lost on the way.

import LensFiles
import LensTestSupport
import Testing
import TransformerLens

@Suite struct ConfigRoundTripTests {
    /// What a saved model does not need: its parameters are written out, biases and both embeddings included.
    private func written(_ config: ModelConfig) -> ModelConfig {
        func withBias(_ norm: ModelConfig.Norm?) -> ModelConfig.Norm? {
            norm.map { .init($0.kind, eps: $0.eps, hasWeights: $0.hasWeights) }
        }
        var config = config
        config.tiesEmbeddings = false
        config.tiedEmbeddingScale = 1
        config.attention.hasBiases = true
        config.mlp?.hasBiases = true
        (config.norm, config.finalNorm, config.embedNorm) = (withBias(config.norm), withBias(config.finalNorm), withBias(config.embedNorm))
        (config.outputNorm, config.attention.qkNorm) = (withBias(config.outputNorm), withBias(config.attention.qkNorm))
        // Written layer by layer.
        if let window = config.attention.window {
            let isLocal = (0..<config.nLayers).map { window.isLocal[$0 % window.isLocal.count] }
            config.attention.window?.isLocal = isLocal
        }
        return config
    }

    @Test(arguments: TestFolders.familyNames)
    func everyFamilys(_ name: String) throws {
        let config = try ModelFolder(path: "\(TestFolders.goldens)/\(name)").config
        // Saving refuses these by name: their fields are written for the eye only.
        if config.normPlacement == .onSum || config.dEmbed != nil || config.encoderParts != nil || config.encoder != nil { return }
        let text = try config.hookedTransformerConfig.text()
        #expect(try ModelConfig(hookedTransformerConfig: JSON.parse(text)) == written(config))
    }

    /// TransformerLens says by the architecture's name what OLMo 2 does.
    @Test func olmo2AsTransformerLensHasIt() throws {
        var object = try #require(ModelFolder(path: "\(TestFolders.goldens)/olmo2").config.hookedTransformerConfig.objectValue)
        for ours in ["norm_placement", "qk_norm_span", "qk_norm_type"] { object[ours] = nil }
        object["use_qk_norm"] = false
        object["original_architecture"] = "Olmo2ForCausalLM"
        let config = try ModelConfig(hookedTransformerConfig: .object(object))
        #expect(config.normPlacement == .onOutput && config.attention.qkNormSpan == .allHeads && config.attention.qkNorm != nil)
    }
}
