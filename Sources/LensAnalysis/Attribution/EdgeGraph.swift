// The graph of a transformer as edge attribution sees it (Syed et al., 2023; Hanna et al., 2024): nodes write to the residual stream, and
// later nodes read it; an edge is one writer's share of what one reader reads. A node that reads in several ways has an
// input for each: a head its queries, keys and values. In grouped models keys and values are read once for the group.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// What writes to the residual stream.
public enum EdgeSource: Sendable, Hashable {
    /// The stream that enters the first layer: token and position embeddings.
    case input
    case head(layer: Int, head: Int)
    case mlp(layer: Int)

    /// `input`, `a3.h7`, `m3`: the names of the EAP papers' code.
    public var name: String {
        switch self {
        case .input: "input"
        case .head(let layer, let head): "a\(layer).h\(head)"
        case .mlp(let layer): "m\(layer)"
        }
    }

    /// The layer; nil for the input.
    public var layer: Int? {
        switch self {
        case .input: nil
        case .head(let layer, _), .mlp(let layer): layer
        }
    }
}

/// What reads the residual stream.
public enum EdgeTarget: Sendable, Hashable {
    /// One input of a head; in grouped models keys and values are of a head of keys and values.
    case head(layer: Int, head: Int, input: HeadInput)
    case mlp(layer: Int)
    /// The final norm and the unembedding.
    case logits
}

/// The nodes and edges of a model.
public struct EdgeGraph: Sendable, Hashable {
    public let nLayers: Int
    public let nHeads: Int
    /// Heads of keys and values.
    public let kvHeads: Int
    /// Whether there are MLPs.
    public let hasMLPs: Bool
    /// Whether MLPs read what their layer's heads read, and not what those wrote.
    public let isParallel: Bool

    /// - Throws: `LensError(.usage)` for a model whose residual stream is no sum of what its parts write (norms of the sum: BERT, GPT-1), that has
    ///   cross-attention, or no layers.
    public init(_ model: some HasTransformer) throws {
        let config = model.model.config
        if config.norm != nil, config.normPlacement == .onSum {
            throw LensError(.usage, "the residual stream of this model is no sum of its parts: it has no edges", found: "norms of the stream after each sublayer")
        }
        guard config.encoder == nil else { throw LensError(.usage, "no edges in an encoder-decoder", expected: "a model of one stack") }
        guard config.nLayers > 0 else { throw LensError(.usage, "a model without layers has no edges") }
        nLayers = config.nLayers
        nHeads = config.nHeads
        kvHeads = config.kvHeads
        hasMLPs = config.mlp != nil
        isParallel = config.parallelAttnMLP
    }

    /// Writers in the order they write: the input, then each layer's heads and its MLP. Everyone reads a run of them from the first.
    public var sources: [EdgeSource] {
        [.input] + (0..<nLayers).flatMap { layer in
            (0..<nHeads).map { EdgeSource.head(layer: layer, head: $0) } + (hasMLPs ? [.mlp(layer: layer)] : [])
        }
    }

    /// Readers in the order they read: each layer's queries, keys and values, its MLP; the logits.
    public var targets: [EdgeTarget] {
        (0..<nLayers).flatMap { layer in
            HeadInput.allCases.flatMap { input in (0..<heads(of: input)).map { EdgeTarget.head(layer: layer, head: $0, input: input) } }
                + (hasMLPs ? [.mlp(layer: layer)] : [])
        } + [.logits]
    }

    /// Heads of queries, or of keys and values.
    public func heads(of input: HeadInput) -> Int { input == .q ? nHeads : kvHeads }

    /// Writers of a layer.
    private var perLayer: Int { nHeads + (hasMLPs ? 1 : 0) }
    public var sourceCount: Int { 1 + nLayers * perLayer }

    /// The place of a writer among `sources`.
    public func index(of source: EdgeSource) -> Int {
        switch source {
        case .input: 0
        case .head(let layer, let head): 1 + layer * perLayer + head
        case .mlp(let layer): 1 + layer * perLayer + nHeads
        }
    }

    /// How many writers a reader reads: the first ones of `sources`.
    public func readable(by target: EdgeTarget) -> Int {
        switch target {
        case .head(let layer, _, _): 1 + layer * perLayer
        case .mlp(let layer): 1 + layer * perLayer + (isParallel ? 0 : nHeads)
        case .logits: sourceCount
        }
    }

    /// The writers that compute from what a reader reads: a head; of a group's keys or values all its heads; none for the logits.
    public func sources(behind target: EdgeTarget) -> [EdgeSource] {
        switch target {
        case .head(let layer, let head, .q): return [.head(layer: layer, head: head)]
        case .head(let layer, let head, _):
            let group = max(1, nHeads / max(1, kvHeads))
            return (head * group..<(head + 1) * group).map { .head(layer: layer, head: $0) }
        case .mlp(let layer): return [.mlp(layer: layer)]
        case .logits: return []
        }
    }

    /// What a writer reads: a head its queries, and its or its group's keys and values; nothing for the input.
    public func targets(of source: EdgeSource) -> [EdgeTarget] {
        switch source {
        case .input: return []
        case .head(let layer, let head):
            let group = max(1, nHeads / max(1, kvHeads))
            return HeadInput.allCases.map { .head(layer: layer, head: $0 == .q ? head : head / group, input: $0) }
        case .mlp(let layer): return [.mlp(layer: layer)]
        }
    }

    /// `a3.h7<q>`, `m3`, `logits`; `a3.g1<k>` for keys of a group.
    public func name(_ target: EdgeTarget) -> String {
        switch target {
        case .head(let layer, let head, let input): "a\(layer).\(input != .q && kvHeads != nHeads ? "g" : "h")\(head)<\(input.rawValue)>"
        case .mlp(let layer): "m\(layer)"
        case .logits: "logits"
        }
    }

    /// All edges there are.
    public var edgeCount: Int { targets.reduce(0) { $0 + readable(by: $1) } }
}

/// One writer's share of what one reader reads.
public struct Edge: Sendable, Hashable {
    public let source: EdgeSource
    public let target: EdgeTarget

    public init(_ source: EdgeSource, _ target: EdgeTarget) {
        self.source = source
        self.target = target
    }
}

extension EdgeTarget {
    /// Where what it reads is seen in a model of `nLayers`.
    func name(nLayers: Int) -> String {
        switch self {
        case .head(let layer, _, let input): input.inputSite.name(layer: layer)
        case .mlp(let layer): HookSite.mlpIn.name(layer: layer)
        case .logits: HookSite.residPost.name(layer: nLayers - 1)
        }
    }
}
