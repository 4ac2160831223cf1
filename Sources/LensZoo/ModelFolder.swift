// A folder with a `config.json` and safetensors: a Hugging Face model of any family in the zoo, or a model saved under
// TransformerLens' names. The configuration says which; the folder's name decides nothing.

import LensFiles
import LensModel
import LensTensor

/// A model on disk.
public struct ModelFolder: Sendable {
    public let path: String
    public let config: ModelConfig
    /// The family; nil for a model saved under TransformerLens' names.
    public let architecture: Architecture?

    /// Reads the configuration.
    /// - Throws: `LensError`: `.file` or `.format` if it cannot be read, `.config` if it is not understood.
    public init(path: String) throws {
        self.path = path
        let configPath = path + "/config.json"
        let json = try JSON.parse(file: configPath, limit: 16 << 20, allowNonFinite: true)
        // MPT's keys for these two are TransformerLens' own.
        if json["d_model"] != nil, json["n_layers"] != nil, json["d_head"] != nil || json["model_type"] == nil {
            architecture = nil
            config = try ModelConfig.isTrainingConfig(json) ? ModelConfig(trainingConfig: json, at: configPath)
                : ModelConfig(hookedTransformerConfig: json, at: configPath)
        } else {
            let family = try Architecture.find(for: json, at: configPath)
            architecture = family
            config = try family.modelConfig(json, at: configPath)
        }
    }

    /// Loads the weights.
    /// - Throws: `LensError`: `.file` or `.format` if they cannot be read, `.weights` if they do not fit the configuration.
    public func load() throws -> Transformer {
        let tensors = try Self.openWeights(path)
        guard let architecture else {
            guard let old = OldCheckpoint(tensors) else { return try Transformer(config: config, savedParameters: tensors) }
            return try Transformer(config: config, parameters: old.parameters(tensors, for: config))
        }
        return try Transformer(config: config, parameters: WeightLoader(architecture: architecture, config: config, tensors: tensors).load())
    }

    /// The parameters that the family's weight map fills, once for each rule; none for a model under TransformerLens' names.
    package var filledParameters: [String] {
        architecture?.weights(config).flatMap { $0.expanded(layers: config.nLayers) }.map(\.parameter) ?? []
    }

    private static func openWeights(_ path: String) throws -> any TensorSource {
        for name in ["model.safetensors", "model.safetensors.index.json"] where fileExists("\(path)/\(name)") {
            return try openTensors(at: "\(path)/\(name)")
        }
        throw LensError(.file, "no weights", at: path, expected: "model.safetensors or model.safetensors.index.json")
    }
}
