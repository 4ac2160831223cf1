// Path patching through components (Wang et al. 2022, appendix B): what senders change reaches a receiver also by way of the
// components between that are computed anew, MLPs say; all others give what they gave in the unpatched run.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Which components between the ends of a path are computed anew; the others are frozen as in the unpatched run.
public struct PathComponents: OptionSet, Sendable, Hashable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// MLPs, experts included: with heads frozen, the path patching of Wang et al.
    public static let mlps = PathComponents(rawValue: 1)
    /// Attention heads.
    public static let attention = PathComponents(rawValue: 2)
}

/// Runs in which senders are as in another run, and all but some components as in the unpatched one.
struct RecomputedPaths {
    private let model: Transformer
    private let tokens: IntTensor
    private let options: PatchingOptions
    private let recomputed: PathComponents
    /// The run that senders are from.
    private let other: ActivationCache
    /// The unpatched run: its residual streams, and what frozen components gave.
    private let base: ActivationCache

    init(_ model: Transformer, _ tokens: IntTensor, _ cache: ActivationCache, _ recomputed: PathComponents, _ options: PatchingOptions) throws {
        self.model = model
        self.tokens = tokens
        self.options = options
        self.recomputed = recomputed
        other = cache
        let sites: [HookSite] = [.residPre, .residPost] + (recomputed.contains(.attention) ? [] : [.z]) + (recomputed.contains(.mlps) ? [] : [.mlpOut])
        var run = Transformer.Options(cache: .matching { name in HookPoint(name: name).map { sites.contains($0.site) } ?? false }, returnType: .none)
        run.attentionMask = options.attentionMask
        base = try model.run(.tokens(tokens), run).cache
    }

    /// What the stream has more of than in the unpatched run, by the layer it enters (the number of layers: the final norm):
    /// `[batch, pos, d_model]`.
    func changes(along path: Path) throws -> [Int: Tensor] {
        let config = model.config
        let ends = Set(path.receivers.map { if case .head(let layer, _, _) = $0 { layer } else { config.nLayers } })
        func stream(_ layer: Int) -> String {
            layer < config.nLayers ? HookSite.residPre.name(layer: layer) : HookSite.residPost.name(layer: config.nLayers - 1)
        }
        var run = Transformer.Options(hooks: try hooks(path.senders), cache: .names(ends.map(stream)), returnType: .none)
        run.attentionMask = options.attentionMask
        // The last receiver's layer, for its stream.
        run.stopAtLayer = min(config.nLayers, (ends.max() ?? 0) + 1)
        var input = Transformer.Input.tokens(tokens)
        if let first = firstLayer(path.senders) {
            input = .residual(try base[HookSite.residPre.name(layer: first)], tokens: tokens)
            run.startAtLayer = first
        }
        let cache = try model.run(input, run).cache
        return Dictionary(uniqueKeysWithValues: try ends.map { ($0, try cache[stream($0)] - base[stream($0)]) })
    }

    /// The first layer that a sender is in; nil if one comes before all.
    private func firstLayer(_ senders: [PathSender]) -> Int? {
        let layers = senders.map(\.site.layer)
        return layers.contains(nil) ? nil : layers.compactMap(\.self).min()
    }

    /// Frozen components first, then senders, which may be among them.
    private func hooks(_ senders: [PathSender]) throws -> [Hook] {
        var hooks: [Hook] = []
        for layer in (firstLayer(senders) ?? 0)..<model.config.nLayers {
            for name in [HookSite.z, .mlpOut].map({ $0.name(layer: layer) }) where base.contains(name) {
                let frozen = try base[name]
                hooks.append(.edit(.names([name])) { tensor, _ in tensor = frozen })
            }
        }
        return hooks + (try senders.map { sender -> Hook in
            let (site, layer, head) = sender.site
            let name = site.name(layer: layer), sent = try other[name]
            let place: [TensorIndex] = head.map { [.all, .all, .at($0)] } ?? []
            return .edit(.names([name])) { tensor, _ in try tensor.assign(sent.view(place), at: place) }
        })
    }
}
