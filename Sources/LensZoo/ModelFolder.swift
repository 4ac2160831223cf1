// A model on disk: a folder with a configuration and weights (a Hugging Face model of any family in the zoo, or one saved under
// TransformerLens' names), one file of weights with its configuration, or a GGUF file, which holds both. What is inside says
// which; names of folders decide nothing.

import LensFiles
import LensModel
import LensTensor

/// A model on disk.
public struct ModelFolder: Sendable {
    /// The folder, or the file.
    public let path: String
    /// The configuration of what `load` loads.
    public let config: ModelConfig
    /// The family; nil for a model saved under TransformerLens' names.
    public let architecture: Architecture?
    /// The configuration of what the files hold.
    private let storedConfig: ModelConfig
    private let gguf: GGUFModel?
    private let adapter: String?
    private let dtype: WeightFormat?
    private let activations: ActivationFormat

    /// Reads the configuration.
    ///
    /// - Parameter path: a folder with `config.json`, a `.gguf` file, or a file of weights (`weights.pt`) with `config.json`
    ///   beside it or in `options.config`.
    /// - Throws: `LensError`: `.file` or `.format` if it cannot be read, `.config` if it is not understood, `.usage` if the
    ///   model does not have what `options` ask for.
    public init(path: String, options: LoadOptions = LoadOptions()) throws {
        self.path = path
        adapter = options.adapter
        if options.config == nil, let file = try Self.ggufFile(path) {
            let model = try GGUFModel(path: file)
            (gguf, architecture, storedConfig) = (model, model.architecture, model.config)
        } else {
            let place = try options.config ?? Self.configPath(for: path)
            let json = try JSON.parse(file: place, limit: 16 << 20, allowNonFinite: true)
            gguf = nil
            // MPT's keys for these two are TransformerLens' own.
            if json["d_model"] != nil, json["n_layers"] != nil, json["d_head"] != nil || json["model_type"] == nil {
                architecture = nil
                storedConfig = try ModelConfig.isTrainingConfig(json) ? ModelConfig(trainingConfig: json, at: place)
                    : ModelConfig(hookedTransformerConfig: json, at: place)
            } else {
                let family = try Architecture.find(for: json, at: place)
                architecture = family
                storedConfig = try family.modelConfig(json, at: place)
            }
        }
        config = try storedConfig.loaded(with: options, at: path)
        dtype = options.dtype
        activations = options.activations
    }

    /// Loads the weights.
    /// - Parameter processing: how they are rewritten, each as it is read.
    /// - Throws: `LensError`: `.file` or `.format` if they cannot be read, `.weights` if they do not fit the configuration,
    ///   `.usage` for a step of the processing asked for by name that would change what the model computes, or rounded activations
    ///   where no weights are quantised.
    public func load(processing: WeightProcessing = .none) throws -> Transformer {
        let stored = try storedParameters()
        let model = try processing != .none ? Transformer.processed(stored, processing, keeping: dtype)
            : Transformer(config: stored.config, parameters: stored.all(keeping: dtype))
        return activations == .float32 ? model : try model.multiplying(activations)
    }

    private func storedParameters() throws -> StoredParameters {
        guard let architecture else {
            try refuseAdapter("a model under TransformerLens' names")
            let tensors = try openWeights()
            return try OldCheckpoint(tensors)?.stored(tensors, stored: storedConfig, for: config) ?? config.savedParameters(tensors, stored: storedConfig)
        }
        if gguf != nil { try refuseAdapter("a GGUF file") }
        let stored = try openWeights()
        // A file written by `tlens quantize` has every matrix the way round that its blocks need.
        let isTurned = (stored as? GGUFFile)?[ModelQuantizer.layoutKey] == .string("linear")
        let tensors = gguf == nil ? try adapted(stored, architecture) : stored
        let config = architecture.settled(config, tensors), storedConfig = architecture.settled(storedConfig, tensors)
        return try WeightLoader(architecture: architecture, config: config, storedConfig: storedConfig, tensors: tensors,
                                changeRule: gguf != nil ? \.inGGUF : isTurned ? \.linear : { $0 }).stored()
    }

    /// The tensors with the adapter, if one was asked for.
    private func adapted(_ tensors: any TensorSource, _ architecture: Architecture) throws -> any TensorSource {
        guard let adapter else { return tensors }
        let rules = architecture.weights(storedConfig).flatMap { $0.expanded(layers: storedConfig.nLayers) }
        let transposed = Set(rules.filter { $0.form == .conv1D }.map(\.source))
        /// A name without the family's prefix.
        func bare(_ name: String) -> String {
            architecture.prefixes.first { !$0.isEmpty && name.hasPrefix($0) }.map { String(name.dropFirst($0.count)) } ?? name
        }
        let isTied = storedConfig.tiesEmbeddings, tied = Set(rules.filter { $0.parameter == "unembed.W_U" }.map(\.source))
        return try AdaptedTensors(tensors, adapter: adapter, baseName: { name in
            // One matrix for two uses cannot have what is added to one of them.
            if isTied, tied.contains(bare(name)) || bare(name).hasSuffix("lm_head.weight") { return nil }
            return ([name] + (architecture.prefixes + [""]).map { $0 + bare(name) }).first { tensors.entry($0) != nil }
        }, isTransposed: { transposed.contains(bare($0)) })
    }

    private func refuseAdapter(_ what: String) throws {
        guard let adapter else { return }
        throw LensError(.usage, "an adapter for \(what)", at: adapter, expected: "a Hugging Face folder", advice: "merge it in Python, or load the folder it was made for")
    }

    /// The parameters that the family's weight map fills, once for each rule; none for a model under TransformerLens' names.
    package var filledParameters: [String] {
        architecture?.weights(config).flatMap { $0.expanded(layers: config.nLayers) }.map(\.parameter) ?? []
    }

    // MARK: Files

    /// Names of configurations, the usual one first: Hugging Face's and TransformerLens', both `config.json`.
    private static let configNames = ["config.json", "tl_config.json"]
    /// Names of weights: Hugging Face's, then those people give to what they saved with torch.save or NumPy.
    private static let weightNames = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
                                      "weights.pt", "model.pt", "weights.pth", "model.pth", "model_final.pth", "final.pth", "weights.npz", "model.npz",
                                      "model.gguf"]

    /// Endings of files that are a model, or its weights.
    private static let fileEndings = [".gguf", ".pt", ".pth", ".bin", ".ckpt", ".npz", ".safetensors", ".index.json"]

    /// Whether a file's name is that of a model or of weights.
    static func isModelFile(_ path: String) -> Bool { fileEndings.contains(where: path.hasSuffix) }

    /// Whether a folder holds a model: a configuration, or a GGUF file.
    static func isModel(_ folder: String) -> Bool { hasConfig(folder) || fileNames(in: folder).contains { $0.hasSuffix(".gguf") } }

    private static func hasConfig(_ folder: String) -> Bool { configNames.contains { fileExists("\(folder)/\($0)") } }

    /// The GGUF file that `path` is, or that is alone in a folder without a configuration; nil if it is something else.
    /// - Throws: `LensError(.file)` for a folder with several.
    public static func ggufFile(_ path: String) throws -> String? {
        guard isFolder(path) else { return path.hasSuffix(".gguf") ? path : nil }
        if hasConfig(path) { return nil }
        let files = fileNames(in: path).filter { $0.hasSuffix(".gguf") }.sorted()
        guard files.count < 2 else {
            throw LensError(.file, "several models in one folder", at: path, found: files.prefix(20).joined(separator: ", "), advice: "name the file")
        }
        return files.first.map { "\(path)/\($0)" }
    }

    private static func configPath(for path: String) throws -> String {
        let folder: String
        if isFolder(path) {
            folder = path
        } else {
            guard fileExists(path) else { throw LensError(.file, "no such model", at: path) }
            folder = path.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(path[..<$0]) } ?? "."
        }
        if let name = configNames.first(where: { fileExists("\(folder)/\($0)") }) { return "\(folder)/\(name)" }
        throw LensError(.file, "no configuration", at: path, expected: "a config.json \(isFolder(path) ? "in it" : "beside it")",
                        advice: "name one (LoadOptions.config, --config)")
    }

    /// The tensors of the model's file or files.
    func openWeights() throws -> any TensorSource {
        if let gguf { return gguf.tensors }
        guard isFolder(path) else { return try openTensors(at: path) }
        if let name = Self.weightNames.first(where: { fileExists("\(path)/\($0)") }) { return try openTensors(at: "\(path)/\(name)") }
        throw LensError(.file, "no weights", at: path, expected: "one of \(Self.weightNames.joined(separator: ", "))")
    }
}
