// A site in a stack and a layer: what has a full name. And every point of a model, in firing order.

/// A stack of blocks; the raw value is what names begin with.
public enum HookStack: String, Sendable, Hashable, CaseIterable {
    /// The blocks of a model that has one stack.
    case blocks
    case encoder, decoder

    /// Where it stands among all.
    package var index: Int { self == .blocks ? 0 : self == .encoder ? 1 : 2 }
}

/// A site in a given layer.
public struct HookPoint: Sendable, Hashable {
    public let site: HookSite
    /// The stack the layer is in; `.blocks` for sites that are in no block.
    public let stack: HookStack
    /// The block, for sites in blocks.
    public let layer: Int?
    /// TransformerLens' full name.
    public var name: String { site.name(stack: stack, layer: layer) }

    public init(_ site: HookSite, stack: HookStack = .blocks, layer: Int? = nil) {
        self.site = site
        self.stack = layer == nil ? .blocks : stack
        self.layer = layer
    }

    /// Layers that a name, which may come from a file, can count.
    private static let mostLayers = 1 << 30

    /// The point of a full name; nil if no site has it.
    public init?(name: String) {
        let parts = name.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        let stack = parts.count == 3 ? HookStack(rawValue: String(parts[0])) : nil
        let layer = stack == nil ? nil : Int(parts[1])
        guard (0..<Self.mostLayers).contains(layer ?? 0) else { return nil }
        guard let site = HookSite(rawValue: layer == nil ? name : "blocks.{i}.\(parts[2])"), site.isInBlock == (layer != nil),
              site.name(stack: stack ?? .blocks, layer: layer) == name else { return nil }
        self.init(site, stack: stack ?? .blocks, layer: layer)
    }

    /// Every point of a model of one stack with these traits, in firing order.
    public static func all(nLayers: Int, traits: Set<ModelTrait>) -> [HookPoint] {
        all([HookStackLayout(stack: .blocks, nLayers: nLayers, traits: traits)])
    }

    /// Every point of a model with these stacks, in the order in which they run.
    public static func all(_ stacks: [HookStackLayout]) -> [HookPoint] {
        stacks.enumerated().flatMap { place, stack -> [HookPoint] in
            let sites = HookSite.firing(with: stack.traits)
            let before = sites.prefix { !$0.isInBlock }, blocks = sites.filter(\.isInBlock)
            let after = sites.dropFirst(before.count).filter { !$0.isInBlock }
            // Only the first stack's embedding fires: what a decoder embeds has no site of its own in TransformerLens.
            return (place == 0 ? before.map { HookPoint($0) } : [])
                + (0..<stack.nLayers).flatMap { layer in blocks.map { HookPoint($0, stack: stack.stack, layer: layer) } }
                + after.map { HookPoint($0) }
        }
    }

    /// Points of one model in firing order. What moves sites is told by the points themselves: a site that only such a model
    /// has, or a decoder's stack.
    package static func inFiringOrder(_ points: [HookPoint]) -> [HookPoint] {
        var traits: Set<ModelTrait> = []
        if points.contains(where: { $0.site == .normalizedResidPost }) { traits.insert(.postNorm) }
        if points.contains(where: { $0.stack == .decoder }) { traits.insert(.crossAttention) }
        let order = Dictionary(uniqueKeysWithValues: HookSite.moved(by: traits).enumerated().map { ($1, $0) })
        let firstInBlock = HookSite.residPre.index
        func key(_ point: HookPoint) -> [Int] {
            let place = order[point.site] ?? 0
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

    public init(stack: HookStack, nLayers: Int, traits: Set<ModelTrait>) {
        self.stack = stack
        self.nLayers = nLayers
        self.traits = traits
    }
}
