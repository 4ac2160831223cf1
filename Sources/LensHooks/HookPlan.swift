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
    private let layers: Int
    /// The stack whose layers `touches` and `edits` ask about.
    public private(set) var stack = HookStack.blocks

    /// - Throws: `LensError(.name)` for a name that is no activation of the model.
    public init(hooks: [Hook], caching filter: ActivationFilter, points: [HookPoint], nLayers: Int) throws {
        layers = max(nLayers, points.compactMap(\.layer).max().map { $0 + 1 } ?? 0)
        entries = Array(repeating: nil, count: HookSite.allCases.count * HookStack.allCases.count * (layers + 1))
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
        (point.site.index * HookStack.allCases.count + point.stack.index) * (layers + 1) + (point.layer.map { $0 + 1 } ?? 0)
    }

    /// Whether anyone looks at or edits it.
    public func touches(_ site: HookSite, _ layer: Int? = nil) -> Bool { entries[slot(HookPoint(site, stack: stack, layer: layer))] != nil }

    /// Whether anyone edits it.
    public func edits(_ site: HookSite, _ layer: Int? = nil) -> Bool { entries[slot(HookPoint(site, stack: stack, layer: layer))]?.edits ?? false }

    /// Whether anything is edited anywhere.
    public var hasEdits: Bool { entries.contains { $0?.edits ?? false } }

    /// Runs the hooks of a point on `tensor`, then gives it to `capture` if the cache wants it.
    /// - Throws: what a hook throws; `LensError(.shape)` for an edit that changed the shape.
    package func fire(_ context: HookContext, _ tensor: inout Tensor, capture: (HookPoint, Tensor) throws -> Void) throws {
        guard let entry = entries[slot(context.point)] else { return }
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
