// Which heads attend as a kind of head does: TransformerLens' `detect_head`.
//
// What 3.9 does otherwise: a custom pattern cannot be given with several sequences (here it can, if it fits each); the cached
// pattern is an input here, never written to; a share of no attention at all is NaN there too, and left so.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// A head of a model.
public struct HeadIndex: Sendable, Hashable, CustomStringConvertible {
    public var layer: Int
    public var head: Int

    public init(_ layer: Int, _ head: Int) {
        self.layer = layer
        self.head = head
    }

    /// TransformerLens' label, `L3H7`.
    public var description: String { "L\(layer)H\(head)" }
}

/// Options of `detectHead`.
public struct DetectHeadOptions: Sendable {
    /// The heads to score; the others' score is -1. nil: all.
    public var heads: [HeadIndex]?
    /// Leave out attention to the first token.
    public var excludeBOS = false
    /// Leave out attention to the current token.
    public var excludeCurrentToken = false
    public var errorMeasure = ErrorMeasure.mul

    public init(heads: [HeadIndex]? = nil, excludeBOS: Bool = false, excludeCurrentToken: Bool = false, errorMeasure: ErrorMeasure = .mul) {
        self.heads = heads
        self.excludeBOS = excludeBOS
        self.excludeCurrentToken = excludeCurrentToken
        self.errorMeasure = errorMeasure
    }
}

/// Scores every head by how far its attention is as `pattern` expects: `[n_layers, n_heads]`.
///
/// - Parameters:
///   - cache: the patterns of a run over the same tokens, with or without its batch axis of 1; nil: a run is made.
/// - Throws: `LensError(.usage)` for a sequence that does not fit the model or heads it has not, `(.shape)` for a pattern that
///   does not fit the sequence.
public func detectHead(_ model: Transformer, tokens: [Int], pattern: DetectionPattern, options: DetectHeadOptions = DetectHeadOptions(),
                       cache: ActivationCache? = nil) throws -> Tensor {
    let config = model.config
    guard 1 < tokens.count, tokens.count < config.nCtx else {
        throw LensError(.usage, "The sequence must be non-empty and must fit within the model's context window.",
                        expected: "2 to \(config.nCtx - 1) tokens", found: "\(tokens.count)")
    }
    let chosen = try chosenHeads(options.heads, config)
    let expected = try pattern.elements(for: tokens)
    let patterns = try cache ?? model.run(.tokens(IntTensor(rows: [tokens])), .init(cache: "pattern", returnType: .none)).cache
    var scores = [Float](repeating: -1, count: config.nLayers * config.nHeads)
    for head in chosen {
        let attention = try oneHead(patterns, head, length: tokens.count)
        scores[head.layer * config.nHeads + head.head] = similarity(attention, expected, length: tokens.count, options)
    }
    return try Tensor(scores, shape: [config.nLayers, config.nHeads])
}

/// The mean of several sequences' scores: `[n_layers, n_heads]`.
/// - Throws: as for one sequence; `LensError(.usage)` without sequences.
public func detectHead(_ model: Transformer, sequences: [[Int]], pattern: DetectionPattern,
                       options: DetectHeadOptions = DetectHeadOptions()) throws -> Tensor {
    guard var total = try sequences.first.map({ try detectHead(model, tokens: $0, pattern: pattern, options: options) }) else {
        throw LensError(.usage, "no sequences to detect heads on")
    }
    for tokens in sequences.dropFirst() { total = try total + detectHead(model, tokens: tokens, pattern: pattern, options: options) }
    return try total / Tensor(Float(sequences.count))
}

private func chosenHeads(_ heads: [HeadIndex]?, _ config: ModelConfig) throws -> [HeadIndex] {
    guard let heads else { return (0..<config.nLayers).flatMap { layer in (0..<config.nHeads).map { HeadIndex(layer, $0) } } }
    if let wrong = heads.first(where: { !(0..<config.nLayers).contains($0.layer) || !(0..<config.nHeads).contains($0.head) }) {
        throw LensError(.usage, "no such head", expected: "\(config.nLayers) layers of \(config.nHeads) heads", found: "\(wrong)")
    }
    return heads
}

/// A head's pattern, `[pos, pos]`.
private func oneHead(_ cache: ActivationCache, _ head: HeadIndex, length: Int) throws -> [Float] {
    let layer = try cache["pattern", head.layer]
    let one = layer.rank == 4 && layer.shape[0] == 1 ? try layer.at(0) : layer
    let attention = one.rank == 3 ? try one.at(.at(head.head)) : one
    guard attention.shape == [length, length] else {
        throw LensError(.shape, "a cache of another sequence", at: HookSite.pattern.name(layer: head.layer),
                        expected: "one row of \(length) tokens", found: "\(layer.shape)")
    }
    return attention.array
}

private func similarity(_ attention: [Float], _ expected: [Float], length: Int, _ options: DetectHeadOptions) -> Float {
    func counts(_ place: Int) -> Bool {
        !(options.excludeBOS && place % length == 0) && !(options.excludeCurrentToken && place % length == place / length)
    }
    let places = attention.indices.filter(counts)
    switch options.errorMeasure {
    case .mul:
        let total = places.reduce(0.0) { $0 + Double(attention[$1]) }
        return Float(places.reduce(0.0) { $0 + Double(attention[$1]) * Double(expected[$1]) } / total)
    case .abs:
        let difference = places.reduce(0.0) { $0 + Double(abs(attention[$1] - expected[$1])) }
        // Python's round: halves to even.
        return Float(1 - (difference / Double(length) * 1000).rounded(.toNearestOrEven) / 1000)
    }
}
