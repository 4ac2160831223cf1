// The ends of a path that patching follows: what sends along the residual stream, and what receives from it.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// What writes into the residual stream.
public enum PathSender: Sendable, Hashable {
    /// An attention head.
    case head(layer: Int, head: Int)
    /// A whole attention layer, or an MLP.
    case attnOut(layer: Int), mlpOut(layer: Int)
    /// The stream entering a layer: everything before it at once.
    case resid(layer: Int)
    /// The token embeddings, or the position embeddings.
    case embed, posEmbed

    /// The activation that is patched to find what the sender would send.
    package var site: (site: HookSite, layer: Int?, head: Int?) {
        switch self {
        case .head(let layer, let head): (.z, layer, head)
        case .attnOut(let layer): (.attnOut, layer, nil)
        case .mlpOut(let layer): (.mlpOut, layer, nil)
        case .resid(let layer): (.residPre, layer, nil)
        case .embed: (.embed, nil, nil)
        case .posEmbed: (.posEmbed, nil, nil)
        }
    }

    /// The first layer whose attention reads what it sends.
    var firstReader: Int {
        switch self {
        case .head(let layer, _), .attnOut(let layer), .mlpOut(let layer): layer + 1
        case .resid(let layer): layer
        case .embed, .posEmbed: 0
        }
    }
}

/// Which of a head's inputs.
public enum HeadInput: String, Sendable, Hashable, CaseIterable {
    case q, k, v

    /// The residual stream as the head reads it.
    var inputSite: HookSite { [.q: .qInput, .k: .kInput, .v: .vInput][self] ?? .qInput }
    /// What it makes of it.
    var site: HookSite { [.q: .q, .k: .k, .v: .v][self] ?? .q }
    /// The matrix between them.
    var weight: String { "W_\(rawValue.uppercased())" }
}

/// What reads from the residual stream.
public enum PathReceiver: Sendable, Hashable {
    /// One of a head's inputs. Heads of keys and values are query heads, in grouped models too.
    case head(layer: Int, head: Int, input: HeadInput)
    /// The stream entering the final norm.
    case final
}

/// A path: what one or several senders would have sent reaches one or several receivers, and nothing between them.
public struct Path: Sendable, Hashable {
    public var senders: [PathSender]
    public var receivers: [PathReceiver]

    public init(from senders: [PathSender], to receivers: [PathReceiver]) {
        self.senders = senders
        self.receivers = receivers
    }

    /// - Throws: `LensError(.usage)` for heads or layers the model has not, or an end that comes before the beginning.
    func check(_ config: ModelConfig) throws {
        for sender in senders {
            let (_, layer, head) = sender.site
            guard layer.map({ (0..<config.nLayers).contains($0) }) ?? true, head.map({ (0..<config.nHeads).contains($0) }) ?? true else {
                throw LensError(.usage, "no such sender", expected: "\(config.nLayers) layers of \(config.nHeads) heads", found: "\(sender)")
            }
        }
        for case .head(let layer, let head, let input) in receivers {
            guard (0..<config.nLayers).contains(layer), (0..<config.nHeads).contains(head) else {
                throw LensError(.usage, "no such receiver", expected: "\(config.nLayers) layers of \(config.nHeads) heads",
                                found: "head \(head) of layer \(layer)")
            }
            if let late = senders.first(where: { $0.firstReader > layer }) {
                throw LensError(.usage, "no path leads back", at: "\(late)", expected: "a receiver from layer \(late.firstReader) on",
                                found: "the \(input.rawValue) input of head \(head) in layer \(layer)")
            }
        }
    }
}

/// How a change of the residual stream reaches a head.
public enum PathMethod: String, Sendable, Hashable, CaseIterable {
    /// Through the head's own norm and projection, as the head would read it.
    case exact
    /// At the norm's scale of the unpatched run, which makes it linear: TransformerLens 3.9's approximation. 3.9 leaves out the
    /// norm's centring and weight, which is right only for folded models; here they count.
    case frozenNorm
}
