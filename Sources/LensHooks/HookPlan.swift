// What a run will do at each activation, worked out before it starts: so that what nobody looks at is never computed, and
// an unknown name is an error before any work is done.

import LensFiles
import LensTensor

/// The hooks and the cache filter of one run, resolved to a model's points.
public struct HookPlan {
    private struct Entry {
        var actions: [Hook.Action] = []
        var edits = false
        var captures = false
    }

    private var entries: [Entry?]
    /// Where each site's entries begin, and how many it has in a layer.
    private var starts: [Int] = []
    private let layers: Int
    private let experts: Int
    /// The stack whose layers `touches` and `edits` ask about.
    public private(set) var stack = HookStack.blocks

    /// - Throws: `LensError(.name)` for a name that is no activation of the model.
    /// - Parameter points: the model's; asked for only if there is anything to resolve.
    public init(hooks: [Hook], caching filter: ActivationFilter, points makePoints: @autoclosure () -> [HookPoint], nLayers: Int) throws {
        let points = hooks.isEmpty && filter.isNone ? [] : makePoints()
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
                entry.actions.append(hook.action)
                if case .edit = hook.action { entry.edits = true }
                entries[slot(point)] = entry
            }
        }
        for point in try filter.resolve(in: points) {
            var entry = entries[slot(point)] ?? Entry()
            entry.captures = true
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

    /// Whether anyone edits it.
    public func edits(_ site: HookSite, _ layer: Int? = nil, expert: Int? = nil) -> Bool {
        entry(HookPoint(site, stack: stack, layer: layer, expert: expert))?.edits ?? false
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
            }
        }
        if entry.captures { try capture(context.point, tensor) }
    }
}
