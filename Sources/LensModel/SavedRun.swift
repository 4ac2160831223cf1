// A run as a file: tokens, logits and every cached activation under its full name, as safetensors or npz; and a cache read
// back from one.

import LensFiles
import LensHooks
import LensTensor

/// Writes what a run gave to `path`: `.safetensors` or `.npz`. `tokens`, `decoder_tokens` and `hook_tokens` are I64, the rest F32.
/// - Throws: `LensError(.usage)` for another ending, `(.file)` if it cannot be written; an older file is then left as it was.
public func saveRun(tokens: IntTensor?, decoderTokens: IntTensor? = nil, logits: Tensor?, cache: ActivationCache, to path: String) throws {
    var contents: [TensorContent] = []
    if let tokens { contents.append(try TensorContent("tokens", shape: tokens.shape, tokens.array.map(Int64.init))) }
    if let decoderTokens { contents.append(try TensorContent("decoder_tokens", shape: decoderTokens.shape, decoderTokens.array.map(Int64.init))) }
    if let logits { contents.append(try content("logits", logits)) }
    for (name, activation) in cache.entries {
        if name == HookSite.tokens.rawValue {
            contents.append(try TensorContent(name, shape: activation.shape, activation.array.map { value in
                guard let id = Int64(exactly: value) else { throw LensError(.usage, "not a token", at: name, found: "\(value)") }
                return id
            }))
        } else {
            contents.append(try content(name, activation))
        }
    }
    if path.hasSuffix(".safetensors") {
        let metadata = ["n_layers": "\(cache.nLayers)", "has_batch_dim": "\(cache.hasBatchDim)",
                        "has_gated_mlp": "\(cache.hasGatedMLP)"]
        try SafetensorsWriter.write(contents, metadata: metadata, to: path)
    } else if path.hasSuffix(".npz") {
        try NumPyWriter.write(npz: contents, to: path)
    } else {
        throw LensError(.usage, "output file of an unknown kind", at: path, expected: "a name ending in .safetensors or .npz")
    }
}

private func content(_ name: String, _ tensor: Tensor) throws -> TensorContent {
    try TensorContent(name, .f32, shape: tensor.shape) { write in
        try tensor.withUnsafeElements { try write(UnsafeRawBufferPointer($0)) }
    }
}

extension ActivationCache {
    /// The activations of a file that a run was saved to. `tokens` and `logits` are not among them.
    /// - Throws: `LensError` if the file cannot be read or holds something that is no activation.
    public init(contentsOf path: String) throws {
        let source = try openTensors(at: path)
        let points = try source.names.filter { !["tokens", "decoder_tokens", "logits"].contains($0) }.map { name -> HookPoint in
            let isGradient = name.hasSuffix(ActivationCache.gradientSuffix)
            guard let point = HookPoint(name: isGradient ? String(name.dropLast(ActivationCache.gradientSuffix.count)) : name) else {
                throw LensError(.format, "not an activation", at: "\(path): \(name)", expected: "a hook name",
                                advice: nearestName(to: name, among: HookSite.allCases.map(\.rawValue)).map { "did you mean \($0)?" })
            }
            return point
        }
        let metadata = (source as? SafetensorsFile)?.metadata ?? [:]
        let layers = (points.compactMap(\.layer).max() ?? -1) + 1
        self.init(nLayers: max(layers, metadata["n_layers"].flatMap(Int.init) ?? 0), hasBatchDim: metadata["has_batch_dim"] != "false",
                  hasGatedMLP: metadata["has_gated_mlp"].map { $0 == "true" } ?? points.contains { $0.site == .mlpPreLinear })
        let ordered = HookPoint.inFiringOrder(Array(Set(points))).map(\.name), held = Set(source.names)
        // Activations, then gradients.
        for name in (ordered + ordered.map { $0 + ActivationCache.gradientSuffix }) where held.contains(name) {
            store(name, try Tensor(stored: name, in: source))
        }
    }
}
