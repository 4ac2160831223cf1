// Attention over pages of keys and values. What nobody reads is never stored; an edit of scores or pattern cuts the work
// in two calls that give the same bits.

import CLensKernels
import LensFiles

/// How one layer attends.
public struct AttentionSpec: Sendable, Hashable {
    public var heads: Int
    public var kvHeads: Int
    public var dHead: Int
    /// Scores are multiplied by this (1 / √d_head, usually).
    public var scoreScale: Float
    /// c·tanh(score / c) where given.
    public var softcap: Float?
    /// A slope for each head: slope · (key position - query position) is added to scores, where given.
    public var alibi: [Float]?
    /// A score for each head that the pattern is normalised with and that has no value, where given: rows then sum to less than 1.
    public var sinks: [Float]?
    /// Biases are those of key positions alone, rounded to bfloat16 and scaled as scores are (Falcon-RW).
    public var roundsALiBi: Bool
    /// A number for each head and distance, added to scores, where given.
    public var relative: RelativeBias?
    /// Whether a query sees only positions up to its own. Otherwise there may be fewer keys than queries.
    public var causal: Bool
    /// A query at p sees positions after p - window, where given.
    public var window: Int?
    /// Where gradients of `sinks` are asked for: of shape `[heads]`.
    package var sinksGraph: GraphValue?

    public init(heads: Int, kvHeads: Int, dHead: Int, scoreScale: Float, softcap: Float? = nil, alibi: [Float]? = nil, roundsALiBi: Bool = false,
                causal: Bool = true, window: Int? = nil) {
        self.heads = heads
        self.kvHeads = kvHeads
        self.dHead = dHead
        self.scoreScale = scoreScale
        self.softcap = softcap
        self.alibi = alibi
        self.roundsALiBi = roundsALiBi
        self.causal = causal
        self.window = window
    }
}

/// What each head adds to the score of a key at a distance from the query (key position - query position): distances
/// further than `reach` have the furthest one's.
public struct RelativeBias: Sendable, Hashable {
    public let heads: Int
    public let reach: Int
    /// `[heads, 2 · reach + 1]`, from -reach on.
    let values: [Float]
    /// Where gradients of the values are asked for: of shape `[heads, 2 · reach + 1]`.
    package var graph: GraphValue?

    /// - Throws: `LensError(.shape)` if there is not a value for each head and distance.
    public init(heads: Int, reach: Int, values: [Float]) throws {
        guard heads > 0, reach >= 0, values.count == heads * (2 * reach + 1) else {
            throw LensError(.shape, "relative bias", expected: "[\(heads), \(2 * reach + 1)]", found: "\(values.count) values")
        }
        self.heads = heads
        self.reach = reach
        self.values = values
    }
}

/// What attention starts from.
public enum AttentionSource: Sendable {
    /// Rotated queries: `[batch, pos, head, d_head]`.
    case queries(Tensor)
    /// Scores, masked ones -inf: `[batch, head, pos, key_pos]`.
    case scores(Tensor)
    /// The normalised pattern: `[batch, head, pos, key_pos]`.
    case pattern(Tensor)

    var tensor: Tensor {
        switch self {
        case .queries(let tensor), .scores(let tensor), .pattern(let tensor): return tensor
        }
    }
}

/// What attention is to store.
public struct AttentionOutputs: OptionSet, Sendable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }
    public static let scores = AttentionOutputs(rawValue: 1)
    public static let pattern = AttentionOutputs(rawValue: 2)
    public static let z = AttentionOutputs(rawValue: 4)
}

/// What attention stored: scores and pattern `[batch, head, pos, key_pos]`, z `[batch, pos, head, d_head]`.
public struct AttentionResult: Sendable {
    public var scores: Tensor?
    public var pattern: Tensor?
    public var z: Tensor?
}

/// Attention of the last `pos` positions over all keys held (`lens_attention`).
///
/// - Parameters:
///   - keyMask: `[batch × keys]`, 0 where a key is masked; nil if none is.
/// - Throws: `LensError(.shape)`.
public func attention(_ spec: AttentionSpec, from source: AttentionSource, over pages: KeyValuePages, keyMask: [UInt8]? = nil,
                      storing outputs: AttentionOutputs) throws -> AttentionResult {
    let batch = pages.batch, keys = pages.count, shape = source.tensor.shape
    let queries: Int
    if case .queries = source {
        queries = shape.count == 4 ? shape[1] : -1
        guard shape == [batch, queries, spec.heads, spec.dHead], queries <= keys || !spec.causal else { throw mismatch("[\(batch), pos, \(spec.heads), \(spec.dHead)]", shape) }
    } else {
        queries = shape.count == 4 ? shape[2] : -1
        guard shape == [batch, spec.heads, queries, keys] else { throw mismatch("[\(batch), \(spec.heads), pos, \(keys)]", shape) }
    }
    guard pages.kvHeads == spec.kvHeads, pages.dHead == spec.dHead, spec.kvHeads > 0, spec.heads % spec.kvHeads == 0,
          keyMask.map({ $0.count == batch * keys }) ?? true, spec.alibi.map({ $0.count == spec.heads }) ?? true,
          spec.sinks.map({ $0.count == spec.heads }) ?? true, spec.relative.map({ $0.heads == spec.heads }) ?? true else {
        throw mismatch("keys of \(spec.kvHeads) heads, slopes of \(spec.heads)", shape)
    }
    let square = [batch, spec.heads, queries, keys]
    let result = AttentionResult(scores: outputs.contains(.scores) ? try Tensor(uninitialized: square) : nil,
                                 pattern: outputs.contains(.pattern) ? try Tensor(uninitialized: square) : nil,
                                 z: outputs.contains(.z) ? try Tensor(uninitialized: [batch, queries, spec.heads, spec.dHead]) : nil)
    try run(spec, source, pages, keyMask, queries, result)
    return recorded(result, spec, source, pages, keyMask, queries)
}

private func mismatch(_ expected: String, _ shape: [Int]) -> LensError {
    LensError(.shape, "attention", expected: expected, found: "\(shape)")
}

private func run(_ spec: AttentionSpec, _ source: AttentionSource, _ pages: KeyValuePages, _ keyMask: [UInt8]?,
                 _ queries: Int, _ result: AttentionResult) throws {
    let isa = try Kernels.isa()
    try withKernelArguments(spec, source, pages, keyMask, queries) { args in
        args.scores_out = result.scores?.storage.pointer
        args.pattern_out = result.pattern?.storage.pointer
        args.z = result.z?.storage.pointer
        let scratch = try FloatStorage(uninitialized: Int(lens_attention_scratch(&args)))
        args.scratch = scratch.pointer
        args.scratch_count = Int64(scratch.count)
        withExtendedLifetime(scratch) { lens_attention(isa, &args) }
    }
}

/// Calls `body` with what attention reads, as the kernels take it; pointers are good inside it only.
func withKernelArguments(_ spec: AttentionSpec, _ source: AttentionSource, _ pages: KeyValuePages, _ keyMask: [UInt8]?, _ queries: Int,
                         _ body: (inout lens_attention_args) throws -> Void) throws {
    let input = try source.tensor.contiguous(), first = pages.first.map(Int64.init)
    var args = lens_attention_args()
    args.batch = Int64(pages.batch)
    args.heads = Int64(spec.heads)
    args.kv_heads = Int64(spec.kvHeads)
    args.d_head = Int64(spec.dHead)
    args.queries = Int64(queries)
    args.keys = Int64(pages.count)
    args.score_scale = spec.scoreScale
    args.softcap = spec.softcap ?? 0
    args.rounds_alibi = spec.roundsALiBi
    args.causal = spec.causal
    args.window = Int64(spec.window ?? 0)
    args.reach = Int64(spec.relative?.reach ?? 0)
    switch source {
    case .queries: args.q = input.elements
    case .scores: args.scores_in = input.elements
    case .pattern: args.pattern_in = input.elements
    }
    (args.k, args.v) = (pages.loose?.keys.elements, pages.loose?.values.elements)
    try withExtendedLifetime((input, pages)) {
        try pages.withPagePointers { pointers, width in
            args.pages_per_row = Int64(width)
            try pointers.withMemoryRebound(to: UnsafePointer<Float>?.self, capacity: pages.batch * width) { readable in
                try first.withUnsafeBufferPointer { firstBuffer in
                    try (keyMask ?? []).withUnsafeBufferPointer { maskBuffer in
                        try (spec.alibi ?? []).withUnsafeBufferPointer { slopes in
                            try (spec.relative?.values ?? []).withUnsafeBufferPointer { relative in
                                try (spec.sinks ?? []).withUnsafeBufferPointer { sinks in
                                    args.pages = UnsafePointer(readable)
                                    args.first = firstBuffer.baseAddress
                                    args.key_mask = keyMask == nil ? nil : maskBuffer.baseAddress
                                    args.alibi = spec.alibi == nil ? nil : slopes.baseAddress
                                    args.relative = spec.relative == nil ? nil : relative.baseAddress
                                    args.sinks = spec.sinks == nil ? nil : sinks.baseAddress
                                    try body(&args)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
