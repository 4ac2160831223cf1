// What a run will do at each activation, worked out before it starts: so that what nobody looks at is never computed, and
// an unknown name is an error before any work is done.

import LensFiles
import LensTensor

/// The hooks and the cache filter of one run, resolved to a model's points.
public struct HookPlan {
    private struct Entry {
        var actions: [Hook.Action] = []
        var edits = false
        var stops = false
        var captures = false
        /// What runs on the gradient.
        var gradientBodies: [(inout Tensor, HookContext) throws -> Void] = []
        var wantsGradient = false
        var marks: Bool { wantsGradient || !gradientBodies.isEmpty }
    }

    private var entries: [Entry?]
    /// Where each site's entries begin, and how many it has in a layer.
    private var starts: [Int] = []
    private let layers: Int
    private let experts: Int
    /// The stack whose layers `touches` and `edits` ask about.
    public private(set) var stack = HookStack.blocks
    /// Takes the values of sites whose gradients someone asks about; nil in a run without gradients.
    package let recorder: GradientRecorder?

    /// - Throws: `LensError(.name)` for a name that is no activation of the model.
    /// - Parameter points: the model's; asked for only if there is anything to resolve.
    public init(hooks: [Hook], caching filter: ActivationFilter, points makePoints: @autoclosure () -> [HookPoint], nLayers: Int) throws {
        try self.init(hooks: hooks, caching: filter, gradients: .none, recorder: nil, points: makePoints(), nLayers: nLayers)
    }

    /// - Parameters:
    ///   - gradients: the sites whose gradients are returned; they and the hooks of gradients count only with a recorder.
    package init(hooks: [Hook], caching filter: ActivationFilter, gradients: ActivationFilter, recorder: GradientRecorder?,
                 points makePoints: @autoclosure () -> [HookPoint], nLayers: Int) throws {
        self.recorder = recorder
        let points = hooks.isEmpty && filter.isNone && gradients.isNone ? [] : makePoints()
        layers = max(nLayers, points.compactMap(\.layer).max().map { $0 + 1 } ?? 0)
        experts = points.compactMap(\.expert).max().map { $0 + 1 } ?? 0
        var count = 0
        for site in HookSite.allCases where !points.isEmpty {
            starts.append(count)
            count += HookStack.allCases.count * (layers + 1) * (site.isPerExpert ? experts : 1)
        }
        entries = Array(repeating: nil, count: count)
        for hook in hooks {
            for point in try hook.filter.resolve(in: points) {
                var entry = entries[slot(point)] ?? Entry()
                switch hook.action {
                case .gradient(let body):
                    guard recorder != nil, point.site.isContinuous else { continue }
                    entry.gradientBodies.append(body)
                case .stopGradient:
                    entry.actions.append(hook.action)
                    entry.stops = true
                case .edit:
                    entry.actions.append(hook.action)
                    entry.edits = true
                case .read: entry.actions.append(hook.action)
                }
                entries[slot(point)] = entry
            }
        }
        for point in try filter.resolve(in: points) {
            var entry = entries[slot(point)] ?? Entry()
            entry.captures = true
            entries[slot(point)] = entry
        }
        for point in try gradients.resolve(in: points) where recorder != nil && point.site.isContinuous {
            var entry = entries[slot(point)] ?? Entry()
            entry.wantsGradient = true
            entries[slot(point)] = entry
        }
    }

    /// The same plan, asked about the layers of another stack.
    public func on(_ stack: HookStack) -> HookPlan {
        var plan = self
        plan.stack = stack
        return plan
    }

    private func slot(_ point: HookPoint) -> Int {
        let layer = point.stack.index * (layers + 1) + (point.layer.map { $0 + 1 } ?? 0)
        return starts[point.site.index] + (point.site.isPerExpert ? layer * experts + (point.expert ?? 0) : layer)
    }

    private func entry(_ point: HookPoint) -> Entry? { entries.isEmpty ? nil : entries[slot(point)] }

    /// Whether anyone looks at or edits it.
    public func touches(_ site: HookSite, _ layer: Int? = nil, expert: Int? = nil) -> Bool {
        entry(HookPoint(site, stack: stack, layer: layer, expert: expert)) != nil
    }

    /// Whether what follows must be computed from what leaves the site: someone edits it, asks for its gradient or stops that.
    public func edits(_ site: HookSite, _ layer: Int? = nil, expert: Int? = nil) -> Bool {
        guard let entry = entry(HookPoint(site, stack: stack, layer: layer, expert: expert)) else { return false }
        return entry.edits || entry.stops || entry.marks
    }

    /// Whether anyone may put in other numbers.
    package func changesValues(_ site: HookSite, _ layer: Int? = nil) -> Bool { entry(HookPoint(site, stack: stack, layer: layer))?.edits ?? false }

    /// Whether no gradient flows back through it.
    package func stopsGradient(_ site: HookSite, _ layer: Int? = nil) -> Bool { entry(HookPoint(site, stack: stack, layer: layer))?.stops ?? false }

    /// Whether anyone asks for its gradient.
    package func marks(_ site: HookSite, _ layer: Int? = nil) -> Bool { entry(HookPoint(site, stack: stack, layer: layer))?.marks ?? false }

    /// Whether any hook of gradients is at it.
    package func hooksGradient(_ site: HookSite, _ layer: Int? = nil) -> Bool {
        entry(HookPoint(site, stack: stack, layer: layer)).map { !$0.gradientBodies.isEmpty } ?? false
    }

    /// Whether anyone looks at anything in a block, its first residual stream set aside where that is asked.
    package func touchesBlock(_ layer: Int, besidesResidPre: Bool = false) -> Bool {
        guard !entries.isEmpty else { return false }
        return HookSite.allCases.contains { site in
            guard site.isInBlock, !(besidesResidPre && site == .residPre) else { return false }
            return site.isPerExpert ? (0..<experts).contains { touches(site, layer, expert: $0) } : touches(site, layer)
        }
    }

    /// Whether anything is edited anywhere.
    public var hasEdits: Bool { entries.contains { $0?.edits ?? false } }

    /// Runs the hooks of a point on `tensor`, then gives it to `capture` if the cache wants it.
    /// - Throws: what a hook throws; `LensError(.shape)` for an edit that changed the shape.
    package func fire(_ context: HookContext, _ tensor: inout Tensor, capture: (HookPoint, Tensor) throws -> Void) throws {
        guard let entry = entry(context.point) else { return }
        let shape = tensor.shape
        for action in entry.actions {
            switch action {
            case .read(let body): try body(tensor, context)
            case .edit(let body):
                try body(&tensor, context)
                guard tensor.shape == shape else {
                    throw LensError(.shape, "an edit changed the shape of an activation", at: context.name, expected: "\(shape)",
                                    found: "\(tensor.shape)")
                }
            case .stopGradient: tensor = tensor.detached()
            case .gradient: break // of the reverse pass
            }
        }
        if entry.marks, let recorder {
            tensor = recorder.mark(tensor, context, isWanted: entry.wantsGradient, entry.gradientBodies)
        }
        if entry.captures { try capture(context.point, tensor) }
    }
}
