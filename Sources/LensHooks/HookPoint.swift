// A site in a stack and a layer: what has a full name. And every point of a model, in firing order.

/// A stack of blocks; the raw value is what names begin with.
public enum HookStack: String, Sendable, Hashable, CaseIterable {
    /// The blocks of a model that has one stack.
    case blocks
    case encoder, decoder

    /// Where it stands among all.
    package var index: Int { self == .blocks ? 0 : self == .encoder ? 1 : 2 }
}

/// A site in a given layer, of a given expert.
public struct HookPoint: Sendable, Hashable {
    public let site: HookSite
    /// The stack the layer is in; `.blocks` for sites that are in no block.
    public let stack: HookStack
    /// The block, for sites in blocks.
    public let layer: Int?
    /// The expert, for sites of experts.
    public let expert: Int?
    /// TransformerLens' full name.
    public var name: String { site.name(stack: stack, layer: layer, expert: expert) }

    public init(_ site: HookSite, stack: HookStack = .blocks, layer: Int? = nil, expert: Int? = nil) {
        self.site = site
        self.stack = layer == nil ? .blocks : stack
        self.layer = layer
        self.expert = expert
    }

    /// Layers, or experts, that a name, which may come from a file, can count.
    private static let most = 1 << 30

    /// The point of a full name; nil if no site has it.
    public init?(name: String) {
        let parts = name.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        let stack = parts.count == 3 ? HookStack(rawValue: String(parts[0])) : nil
        let layer = stack == nil ? nil : Int(parts[1])
        let (rest, expert) = layer == nil ? (name, nil) : Self.withoutExpert(parts[2])
        guard (0..<Self.most).contains(layer ?? 0), (0..<Self.most).contains(expert ?? 0) else { return nil }
        guard let site = HookSite(rawValue: layer == nil ? rest : "blocks.{i}.\(rest)"), site.isInBlock == (layer != nil),
              site.isPerExpert == (expert != nil), site.name(stack: stack ?? .blocks, layer: layer, expert: expert) == name else { return nil }
        self.init(site, stack: stack ?? .blocks, layer: layer, expert: expert)
    }

    /// `mlp.experts.5.hook_post` as `mlp.experts.{e}.hook_post` and 5; other names as they are.
    private static func withoutExpert(_ name: Substring) -> (name: String, expert: Int?) {
        let parts = name.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4, parts[0] == "mlp", parts[1] == "experts", let expert = Int(parts[2]) else { return (String(name), nil) }
        return ("mlp.experts.{e}.\(parts[3])", expert)
    }

    /// Every point of a model of one stack with these traits, in firing order.
    public static func all(nLayers: Int, traits: Set<ModelTrait>) -> [HookPoint] {
        all([HookStackLayout(stack: .blocks, nLayers: nLayers, traits: traits)])
    }

    /// Every point of a model with these stacks, in the order in which they run.
    public static func all(_ stacks: [HookStackLayout]) -> [HookPoint] {
        stacks.enumerated().flatMap { place, stack -> [HookPoint] in
            let sites = HookSite.firing(with: stack.traits)
            let before = sites.prefix { !$0.isInBlock }
            let after = sites.dropFirst(before.count).filter { !$0.isInBlock }
            // Only the first stack's embedding fires: what a decoder embeds has no site of its own in TransformerLens.
            return (place == 0 ? before.map { HookPoint($0) } : [])
                + (0..<stack.nLayers).flatMap { inBlock($0, stack) }
                + after.map { HookPoint($0) }
        }
    }

    /// The points of one block: those of experts come expert by expert.
    private static func inBlock(_ layer: Int, _ stack: HookStackLayout) -> [HookPoint] {
        let sites = HookSite.firing(with: stack.traits(in: layer)).filter(\.isInBlock), perExpert = sites.filter(\.isPerExpert)
        return sites.flatMap { site -> [HookPoint] in
            guard site.isPerExpert else { return [HookPoint(site, stack: stack.stack, layer: layer)] }
            guard site == perExpert.first else { return [] }
            return (0..<stack.experts).flatMap { expert in perExpert.map { HookPoint($0, stack: stack.stack, layer: layer, expert: expert) } }
        }
    }

    /// Points of one model in firing order. What moves sites is told by the points themselves: a site that only such a model
    /// has, or a decoder's stack.
    package static func inFiringOrder(_ points: [HookPoint]) -> [HookPoint] {
        var traits: Set<ModelTrait> = []
        if points.contains(where: { $0.site == .normalizedResidPost }) { traits.insert(.postNorm) }
        if points.contains(where: { $0.stack == .decoder }) { traits.insert(.crossAttention) }
        let order = Dictionary(uniqueKeysWithValues: HookSite.moved(by: traits).enumerated().map { ($1, $0) })
        let firstInBlock = HookSite.residPre.index, experts = order[.expertGate] ?? 0
        func key(_ point: HookPoint) -> [Int] {
            let place = order[point.site] ?? 0
            if let layer = point.layer, let expert = point.expert { return [point.stack.index, 1, layer, experts, expert, place] }
            if let layer = point.layer { return [point.stack.index, 1, layer, place] }
            switch point.site {
            case .encoderFinalScale, .encoderFinalNormalized: return [HookStack.encoder.index, 2, 0, place]
            default: return point.site.index < firstInBlock ? [0, 0, 0, place] : [HookStack.decoder.index, 2, 0, place]
            }
        }
        return points.map { (key($0), $0) }.sorted { $0.0.lexicographicallyPrecedes($1.0) }.map(\.1)
    }
}

/// A stack of blocks as far as hook points go.
public struct HookStackLayout: Sendable, Hashable {
    public let stack: HookStack
    public let nLayers: Int
    public let traits: Set<ModelTrait>
    /// The traits of each layer, where they differ.
    public let layerTraits: [Set<ModelTrait>]
    /// Experts of the layers that have any.
    public let experts: Int

    public init(stack: HookStack, nLayers: Int, traits: Set<ModelTrait>, layerTraits: [Set<ModelTrait>] = [], experts: Int = 0) {
        self.stack = stack
        self.nLayers = nLayers
        self.traits = traits
        self.layerTraits = layerTraits
        self.experts = experts
    }

    /// The traits of a layer.
    func traits(in layer: Int) -> Set<ModelTrait> { layer < layerTraits.count ? layerTraits[layer] : traits }
}
