// A transformer that Tracr compiled from a RASP program (Lindner et al. 2023), read from files and made a model like any
// other. TransformerLens 3.9 converts the object that Tracr gives; here that object's parts are in a JSON file:
//
//     {"model_config": {"num_heads": 1, "num_layers": 2, "key_size": 4, "mlp_hidden_size": 8, "causal": false, "layer_norm": false},
//      "residual_labels": ["tokens:a", …, "one"],
//      "output_encoder": {"encoding_map": {"a": 0, …}},
//      "params": {"token_embed": {"embeddings": [[…]]}, "transformer/layer_0/attn/key": {"w": [[…]], "b": […]}, …}}
//
// `params` (haiku's) may be a .npz file instead, its arrays named `transformer/layer_0/attn/key/w`. Refused: layer norms and
// outputs that are not categorical, as in 3.9.

import LensFiles
import LensModel
import LensTensor

/// A compiled RASP program.
public struct TracrModel: Sendable {
    /// What stands for each dimension of the residual stream: `"tokens:a"`.
    public let residualLabels: [String]
    /// Output values and their columns.
    public let outputEncoding: [(value: String, column: Int)]
    public let config: ModelConfig
    private let parameters: [String: Tensor]

    /// - Parameters:
    ///   - path: the JSON file.
    ///   - parametersPath: a `.npz` file with the parameters, where they are not in the JSON.
    /// - Throws: `LensError(.file)`, `(.format)` or `(.weights)` for what is missing or does not fit, `(.config)` for models that
    ///   cannot be converted.
    public init(file path: String, parameters parametersPath: String? = nil) throws {
        let json = try JSON.parse(file: path, limit: 1 << 30)
        residualLabels = try (json["residual_labels"] ?? .null).asArray(at: "\(path): residual_labels").map { try $0.asString(at: "\(path): residual_labels") }
        guard let encoding = json["output_encoder"]?["encoding_map"]?.objectValue else {
            throw LensError(.config, "only categorical Tracr outputs are supported", at: path, expected: "output_encoder.encoding_map")
        }
        outputEncoding = try encoding.pairs.map { ($0.key, try $0.value.asInt(at: "\(path): encoding_map")) }.sorted { $0.1 < $1.1 }
        guard outputEncoding.map(\.column) == Array(0..<outputEncoding.count), !outputEncoding.isEmpty else {
            throw LensError(.format, "columns of outputs", at: "\(path): encoding_map", expected: "0, 1, … once each", found: "\(outputEncoding.map(\.column))")
        }
        parameters = try parametersPath.map(Self.arrays) ?? Self.arrays(json["params"] ?? .null, at: "\(path): params")
        config = try Self.config(ConfigReader(json["model_config"] ?? .null, at: "\(path): model_config"), parameters, outputs: outputEncoding.count,
                                 width: residualLabels.count)
    }

    // MARK: Labels

    /// The label of the program's output among the residual labels: the only one whose values are those of the output.
    /// - Throws: `LensError(.usage)` if none or several are.
    public func inferOutputLabel() throws -> String {
        var values: [String: Set<String>] = [:]
        for label in residualLabels {
            guard let colon = label.lastIndex(of: ":") else { continue }
            values[String(label[..<colon]), default: []].insert(String(label[label.index(after: colon)...]))
        }
        let wanted = Set(outputEncoding.map(\.value)), candidates = values.filter { $0.value == wanted }.keys.sorted()
        guard candidates.count == 1, let label = candidates.first else {
            throw LensError(.usage, "Could not infer Tracr output label from residual labels", expected: "one label with the values \(wanted.sorted())",
                            found: "\(candidates)", advice: "give outputLabel")
        }
        return label
    }

    /// W_U: the dimensions of the output's values, wherever they are in the stream: `[d_model, d_vocab_out]`.
    public func categoricalUnembed(outputLabel: String? = nil) throws -> Tensor {
        let label = try outputLabel ?? inferOutputLabel()
        var unembed = Tensor(zeros: [residualLabels.count, outputEncoding.count])
        for (value, column) in outputEncoding {
            guard let row = residualLabels.firstIndex(of: "\(label):\(value)") else {
                throw LensError(.usage, "Could not find output basis label", at: "\(label):\(value)", expected: "one of the residual labels",
                                advice: "give the label of the final RASP expression")
            }
            try unembed.set(.at(row), .at(column), to: 1)
        }
        return unembed
    }

    /// The model, under TransformerLens' names.
    /// - Throws: `LensError(.weights)` for missing or mis-shaped parameters; as `inferOutputLabel`.
    public func transformer(outputLabel: String? = nil) throws -> Transformer {
        var tensors = ["embed.W_E": try parameter("token_embed/embeddings"), "unembed.W_U": try categoricalUnembed(outputLabel: outputLabel)]
        // Positions past the program's have no embedding.
        tensors["pos_embed.W_pos"] = try parameter("pos_embed/embeddings")
        let heads = config.nHeads, width = config.dHead, model = config.dModel
        for layer in 0..<config.nLayers {
            let from = "transformer/layer_\(layer)", to = "blocks.\(layer)"
            for (name, letter) in [("query", "Q"), ("key", "K"), ("value", "V")] {
                tensors["\(to).attn.W_\(letter)"] = try shaped("\(from)/attn/\(name)/w", [model, heads, width]).permuted(1, 0, 2).contiguous()
                tensors["\(to).attn.b_\(letter)"] = try shaped("\(from)/attn/\(name)/b", [heads, width])
            }
            tensors["\(to).attn.W_O"] = try shaped("\(from)/attn/linear/w", [heads, width, model])
            tensors["\(to).attn.b_O"] = try parameter("\(from)/attn/linear/b")
            tensors["\(to).mlp.W_in"] = try parameter("\(from)/mlp/linear_1/w")
            tensors["\(to).mlp.b_in"] = try parameter("\(from)/mlp/linear_1/b")
            tensors["\(to).mlp.W_out"] = try parameter("\(from)/mlp/linear_2/w")
            tensors["\(to).mlp.b_out"] = try parameter("\(from)/mlp/linear_2/b")
        }
        return try Transformer(config: config, parameters: tensors)
    }

    // MARK: Reading

    private func parameter(_ name: String) throws -> Tensor { try Self.parameter(name, parameters) }

    private func shaped(_ name: String, _ shape: [Int]) throws -> Tensor {
        let tensor = try parameter(name)
        guard tensor.count == shape.reduce(1, *) else {
            throw LensError(.weights, "parameter of the wrong shape", at: name, expected: "\(shape)", found: "\(tensor.shape)")
        }
        return try tensor.reshaped(shape)
    }

    private static func parameter(_ name: String, _ parameters: [String: Tensor]) throws -> Tensor {
        guard let tensor = parameters[name] else {
            throw LensError(.weights, "missing parameter", at: name, advice: nearestName(to: name, among: parameters.keys.sorted()).map { "did you mean \($0)?" })
        }
        return tensor
    }

    private static func config(_ reader: ConfigReader, _ parameters: [String: Tensor], outputs: Int, width: Int) throws -> ModelConfig {
        let tokens = try parameter("token_embed/embeddings", parameters), positions = try parameter("pos_embed/embeddings", parameters)
        guard tokens.rank == 2, positions.rank == 2, tokens.shape[1] == width, positions.shape[1] == width else {
            throw LensError(.weights, "embeddings of another width than the residual labels", expected: "[…, \(width)]", found: "\(tokens.shape) and \(positions.shape)")
        }
        if try reader.bool("layer_norm", default: false) {
            throw LensError(.config, "Tracr models with layer norms are not supported", at: "layer_norm")
        }
        let keySize = try reader.int("key_size")
        var config = ModelConfig(nLayers: try reader.int("num_layers"), dModel: width, nCtx: positions.shape[0], nHeads: try reader.int("num_heads"), dHead: keySize,
                                 dVocab: tokens.shape[0], dVocabOut: outputs, norm: nil, mlp: .init(width: try reader.int("mlp_hidden_size"), activation: .relu),
                                 position: .learned, attention: .init(scale: Double(max(1, keySize)).squareRoot()))
        config.attention.direction = try reader.bool("causal", default: false) ? .causal : .bidirectional
        config.defaultPrependBOS = false
        config.modelName = "tracr"
        try config.validate()
        return config
    }

    /// `{module: {parameter: numbers}}`
    private static func arrays(_ json: JSON, at location: String) throws -> [String: Tensor] {
        var tensors: [String: Tensor] = [:]
        for (module, parameters) in try json.asObject(at: location).pairs {
            for (name, value) in try parameters.asObject(at: "\(location): \(module)").pairs {
                tensors["\(module)/\(name)"] = try tensor(value, at: "\(location): \(module)/\(name)")
            }
        }
        return tensors
    }

    private static func arrays(_ path: String) throws -> [String: Tensor] {
        let source = try openTensors(at: path)
        return Dictionary(uniqueKeysWithValues: try source.names.map { ($0, try Tensor(stored: $0, in: source)) })
    }

    /// A vector or a matrix.
    private static func tensor(_ json: JSON, at location: String) throws -> Tensor {
        let rows = try json.asArray(at: location)
        func numbers(_ row: [JSON]) throws -> [Float] { try row.map { Float(try $0.asDouble(at: location)) } }
        guard rows.first?.arrayValue != nil else { return try Tensor(numbers(rows), shape: [rows.count]) }
        let values = try rows.map { try numbers($0.asArray(at: location)) }, width = values.first?.count ?? 0
        guard values.allSatisfy({ $0.count == width }) else { throw LensError(.format, "rows of different lengths", at: location) }
        return try Tensor(values.flatMap(\.self), shape: [values.count, width])
    }
}
