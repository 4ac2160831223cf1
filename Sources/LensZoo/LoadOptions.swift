// What a caller may ask of loading besides the model's name: a part of the layers, another context, where the configuration
// is, an adapter. What a file says of its numbers is not changed here.

import LensFiles
import LensModel
import LensTensor

/// How to load a model. The defaults load it whole, as its files say.
public struct LoadOptions: Sendable, Hashable {
    /// Only this many layers, from the first; the others' tensors are not read. nil: all.
    public var firstNLayers: Int?
    /// Another context: a shorter one cuts learned positions; a longer one is for models that compute theirs. nil: the model's own.
    public var nCtx: Int?
    /// Whether text gets a beginning-of-sequence token unless a call says otherwise. nil: the family's rule.
    public var defaultPrependBOS: Bool?
    /// The `config.json` of a checkpoint that is one file; nil: the one beside it.
    public var config: String?
    /// A folder with a LoRA adapter (PEFT's `adapter_config.json`), which is merged into the weights.
    public var adapter: String?
    /// How weights are kept; nil: as in the file, so that two bytes stay two and quantised blocks stay as they are.
    public var dtype: WeightFormat?
    /// What activations are in products with quantised weights: as they are, or rounded to eight bits.
    public var activations: ActivationFormat

    public init(firstNLayers: Int? = nil, nCtx: Int? = nil, defaultPrependBOS: Bool? = nil, config: String? = nil, adapter: String? = nil,
                dtype: WeightFormat? = nil, activations: ActivationFormat = .float32) {
        self.firstNLayers = firstNLayers
        self.nCtx = nCtx
        self.defaultPrependBOS = defaultPrependBOS
        self.config = config
        self.adapter = adapter
        self.dtype = dtype
        self.activations = activations
    }
}

extension ModelConfig {
    /// The configuration of what is loaded, where this one is the file's.
    /// - Throws: `LensError(.usage)` for more layers than there are, or positions nobody learned.
    func loaded(with options: LoadOptions, at location: String) throws -> ModelConfig {
        var config = self
        if let layers = options.firstNLayers {
            guard (0...nLayers).contains(layers) else {
                throw LensError(.usage, "the model does not have so many layers", at: location, expected: "0 to \(nLayers) layers", found: "\(layers)")
            }
            config.nLayers = layers
        }
        if let context = options.nCtx {
            guard context > 0 else { throw LensError(.usage, "impossible context", at: location, expected: "at least 1 position", found: "\(context)") }
            if position == .learned, context > nCtx {
                throw LensError(.usage, "more positions than the model has learned", at: location, expected: "at most \(nCtx)", found: "\(context)")
            }
            config.nCtx = context
        }
        if let prepends = options.defaultPrependBOS { config.defaultPrependBOS = prepends }
        try config.validate()
        return config
    }

    /// Whether `parameter`, one of a model that `self` was cut from or of `self`, is of a layer that was cut off.
    func isCutOff(_ parameter: String) -> Bool {
        let parts = parameter.split(separator: ".", maxSplits: 2)
        return parts.count > 1 && parts[0] == "blocks" && Int(parts[1]).map { $0 >= nLayers } == true
    }
}
