// The activations of a run under TransformerLens' names. Getting started:
//
//     let (logits, cache) = try model.runWithCache("Hello World")
//     try cache["pattern", 0]                     // [batch, head, query_pos, key_pos]
//     try cache["blocks.3.hook_resid_post"]       // [batch, pos, d_model]
//
// Nothing is copied to make a cache: it holds the run's own buffers, which the run then leaves alone.

import LensFiles
import LensTensor

/// Cached activations by full name, in firing order.
public struct ActivationCache: Sendable {
    /// Full names in firing order.
    public private(set) var names: [String] = []
    private var tensors: [String: Tensor] = [:]
    /// Layers of the model, which negative layers count from.
    public let nLayers: Int
    /// False once the batch dimension has been removed.
    public let hasBatchDim: Bool

    /// Whether the model's MLPs are gated, which one canonical name depends on.
    package let hasGatedMLP: Bool

    public init(nLayers: Int, hasBatchDim: Bool = true, hasGatedMLP: Bool = false) {
        self.nLayers = nLayers
        self.hasGatedMLP = hasGatedMLP
        self.hasBatchDim = hasBatchDim
    }

    public var count: Int { names.count }
    public var isEmpty: Bool { names.isEmpty }

    /// Names and activations in firing order.
    public var entries: [(name: String, activation: Tensor)] { names.compactMap { name in tensors[name].map { (name, $0) } } }

    /// Whether the full name is cached.
    public func contains(_ name: String) -> Bool { tensors[name] != nil }

    /// The activation of a full name or a shorthand (`pattern2`, `k6`, `resid_pre5`, `embed`).
    /// - Throws: `LensError(.name)` if it is not cached, naming the nearest that is.
    public subscript(_ name: String) -> Tensor {
        get throws { try find(full(name), asked: name) }
    }

    /// The activation of a shorthand in a layer (negative: from the last); `type` as in TransformerLens
    /// (`"ln1"`, `"mlp"`): `cache["scale", 3, "ln1"]`.
    /// - Throws: `LensError(.name)` if it is not cached, naming the nearest that is.
    public subscript(_ name: String, _ layer: Int, _ type: String? = nil) -> Tensor {
        get throws {
            let isGradient = name.hasSuffix(Self.gradientSuffix), activation = isGradient ? String(name.dropLast(Self.gradientSuffix.count)) : name
            let full = actName(activation, layer: layer < 0 ? layer + nLayers : layer, type: type) + (isGradient ? Self.gradientSuffix : "")
            return try find(full, asked: full)
        }
    }

    /// What the names of gradients end in, after the name of their activation.
    package static let gradientSuffix = "_grad"

    /// The full name of a shorthand or a canonical name, as far as it is cached.
    private func full(_ name: String) -> String {
        if tensors[name] != nil { return name }
        if name.hasSuffix(Self.gradientSuffix) { return full(String(name.dropLast(Self.gradientSuffix.count))) + Self.gradientSuffix }
        let full = actName(name)
        guard full == name else { return full }
        // What is before the activation function has this name in a plain MLP only: a gated one has it for something else.
        return CanonicalNames.ownNames(of: name).first { tensors[$0] != nil && !(hasGatedMLP && $0.hasSuffix("mlp.hook_pre")) } ?? name
    }

    private func find(_ name: String, asked: String) throws -> Tensor {
        if let tensor = tensors[name] { return tensor }
        throw LensError(.name, "not in the cache", at: asked, found: "\(names.count) activations",
                        advice: nearestName(to: name, among: names).map { "did you mean \($0)?" } ?? "cache it with a filter")
    }

    /// Stores an activation under its full name.
    public mutating func store(_ name: String, _ tensor: Tensor) {
        if tensors.updateValue(tensor, forKey: name) == nil { names.append(name) }
    }

    /// The same activations, let go of what they were computed from.
    package var detached: ActivationCache {
        var copy = self
        copy.tensors = tensors.mapValues { $0.detached() }
        return copy
    }

    /// The cache without its batch axis.
    /// - Throws: `LensError(.shape)` if the batch is not 1 or it was removed before.
    public func removingBatchDim() throws -> ActivationCache {
        guard hasBatchDim else { throw LensError(.usage, "the batch dimension has been removed already") }
        var result = ActivationCache(nLayers: nLayers, hasBatchDim: false, hasGatedMLP: hasGatedMLP)
        for (name, tensor) in entries {
            // What an expert computed has no batch axis, only the tokens that went to it.
            let activation = name.hasSuffix(Self.gradientSuffix) ? String(name.dropLast(Self.gradientSuffix.count)) : name
            guard HookPoint(name: activation)?.site.row.axes.first != .routed else {
                result.store(name, tensor)
                continue
            }
            guard tensor.shape.first == 1 else {
                throw LensError(.shape, "cannot remove the batch dimension", at: name, expected: "a batch of 1",
                                found: "shape \(tensor.shape)", advice: "run one prompt, or slice the batch")
            }
            result.store(name, try tensor.at(0))
        }
        return result
    }
}
