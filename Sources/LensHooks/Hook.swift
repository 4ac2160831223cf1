// Hooks: values given to a run, not state left on a model. A hook reads an activation or edits it, and is told where it is.

import LensTensor

/// Where a hook is while it runs.
public struct HookContext: Sendable {
    public let point: HookPoint
    /// Absolute positions of the local rows: 0..<pos in a plain run, one position in a decoding step.
    public let positions: Range<Int>
    /// 0 for the prompt, then 1, 2, … for each generated token.
    public let step: Int
    /// Whether each position is a real token, those before the local ones included: `[batch][positions.upperBound]`.
    public let isReal: [[Bool]]
    /// Of an expert's activation: which of batch × pos each of its rows is; else nil.
    public package(set) var routed: [Int]?
    /// Positions of the prompt, padding included: from there on tokens are generated ones. Of a plain run, all positions.
    public let promptLength: Int
    /// Of a hook at named positions: the places it was given, in the order of its tensor's first axis.
    public internal(set) var places: [HookPlace] = []
    /// Left padding of each batch row, in positions.
    public var padding: [Int] { isReal.map { $0.firstIndex(of: true) ?? $0.count } }

    public var site: HookSite { point.site }
    public var layer: Int? { point.layer }
    public var expert: Int? { point.expert }
    /// The full name, `blocks.3.attn.hook_z`.
    public var name: String { point.name }
    public var isPrefill: Bool { step == 0 }

    package init(point: HookPoint, positions: Range<Int>, step: Int, isReal: [[Bool]], promptLength: Int? = nil) {
        self.point = point
        self.positions = positions
        self.step = step
        self.isReal = isReal
        self.promptLength = promptLength ?? positions.upperBound
    }
}

/// Something to do at the activations a filter names. Hooks at one activation run in the order they were given.
///
/// ```swift
/// let ablate = Hook.edit("blocks.5.attn.hook_z") { z, at in z[.all, .all, 3] = 0 }
/// ```
public struct Hook {
    package enum Action {
        case read((Tensor, HookContext) throws -> Void)
        case edit((inout Tensor, HookContext) throws -> Void)
        case gradient((inout Tensor, HookContext) throws -> Void)
        case stopGradient
    }

    package let filter: ActivationFilter
    package let action: Action
    /// The positions it is for; nil: it sees whole activations.
    package var position: HookPosition?

    /// Looks. Changes no bit of the run.
    public static func read(_ filter: ActivationFilter, _ body: @escaping (Tensor, HookContext) throws -> Void) -> Hook {
        Hook(filter: filter, action: .read(body))
    }

    /// Changes the activation for everything downstream and for later hooks. It must keep its shape.
    public static func edit(_ filter: ActivationFilter, _ body: @escaping (inout Tensor, HookContext) throws -> Void) -> Hook {
        Hook(filter: filter, action: .edit(body))
    }
}
