// Which positions an edit means, by name, and where they are in the pass at hand. Generating, a pass holds one position, or
// a chunk of the prompt, or, without a cache, everything; a padded row begins late. A hook that says `.absolute(3)` or
// `.everyNewToken` means the same tokens in all of these, and does nothing in a pass that does not hold them.

import LensFiles
import LensTensor

/// Positions of a row, counted over its real tokens: padding has none.
public enum HookPosition: Sendable, Hashable {
    /// Every real token, of the prompt and generated.
    case all
    /// The token at this place of each row, 0 the first real one; negative counts from the end of the prompt, so that it
    /// stays where it is while text grows. A place that is not there yet is met when it comes; one before the row: never.
    case absolute(Int)
    /// As `absolute`, for each batch row its own; nil: none in this row.
    case absolutePerRow([Int?])
    /// The prompt's last token: `absolute(-1)`.
    case lastOfPrompt
    /// Each token generated, none of the prompt: what steering wants.
    case everyNewToken
}

/// A chosen position in an activation.
public struct HookPlace: Sendable, Hashable {
    /// The batch row.
    public let row: Int
    /// Index on the activation's position axis.
    public let index: Int
    /// Which of the row's real tokens it is, 0 the first.
    public let position: Int

    public init(row: Int, index: Int, position: Int) {
        self.row = row
        self.index = index
        self.position = position
    }
}

extension HookContext {
    /// Where `position` is in this pass' activation, row by row; empty if it is not there.
    ///
    /// Activations with an axis of queries hold this pass' positions. `hook_rot_k` holds the keys of all positions so far,
    /// and is not remembered as edited: its places come back in every pass.
    public func places(at position: HookPosition) -> [HookPlace] {
        let axes = site.row.axes
        let held = axes.contains(.keyPos) && !axes.contains(.pos) ? 0..<positions.upperBound : positions
        return isReal.indices.flatMap { row in places(position, row, held) }
    }

    private func places(_ position: HookPosition, _ row: Int, _ held: Range<Int>) -> [HookPlace] {
        let real = isReal[row]
        let before = real[..<held.lowerBound].count(where: \.self)
        switch position {
        case .all, .everyNewToken:
            let from = position == .all ? 0 : promptLength
            var seen = before
            return held.compactMap { place in
                guard real[place] else { return nil }
                seen += 1
                return place < from ? nil : HookPlace(row: row, index: place - held.lowerBound, position: seen - 1)
            }
        case .absolute(let wanted): return one(wanted, row, held, before)
        case .absolutePerRow(let wanted):
            guard row < wanted.count, let own = wanted[row] else { return [] }
            return one(own, row, held, before)
        case .lastOfPrompt: return one(-1, row, held, before)
        }
    }

    private func one(_ wanted: Int, _ row: Int, _ held: Range<Int>, _ before: Int) -> [HookPlace] {
        let real = isReal[row]
        var wanted = wanted
        if wanted < 0 {
            // What has not come yet of a prompt read in chunks is real: padding lies on the left there.
            let prompt = real.prefix(promptLength).count(where: \.self) + max(0, promptLength - real.count)
            wanted += prompt
        }
        guard wanted >= before else { return [] }
        var seen = before
        for place in held where real[place] {
            if seen == wanted { return [HookPlace(row: row, index: place - held.lowerBound, position: seen)] }
            seen += 1
        }
        return []
    }
}

extension Hook {
    /// Changes the activation at named positions, of all batch rows at once.
    ///
    /// ```swift
    /// Hook.edit("blocks.5.hook_resid_post", at: .everyNewToken) { rows, at in rows = try rows + direction }
    /// ```
    /// `body` gets `[place, …]`: the activation's axes without batch and position, one entry for each of `at.places`
    /// (`[place, d_model]` of a residual stream, `[place, head, d_head]` of `hook_z`, `[place, head, key_pos]` of the
    /// pattern). It is not called in a pass that holds none of the positions. It must keep the shape.
    public static func edit(_ filter: ActivationFilter, at position: HookPosition,
                            _ body: @escaping (inout Tensor, HookContext) throws -> Void) -> Hook {
        Hook(filter: filter, action: .edit { tensor, context in
            guard let chosen = try chosen(position, tensor, context) else { return }
            var rows = chosen.rows
            let shape = rows.shape
            try body(&rows, chosen.context)
            guard rows.shape == shape else {
                throw LensError(.shape, "an edit changed the shape of an activation", at: context.name, expected: "\(shape)",
                                found: "\(rows.shape)")
            }
            try chosen.put(rows, into: &tensor)
        }, position: position)
    }

    /// Looks at named positions, given to `body` as in `edit(_:at:_:)`.
    public static func read(_ filter: ActivationFilter, at position: HookPosition,
                            _ body: @escaping (Tensor, HookContext) throws -> Void) -> Hook {
        Hook(filter: filter, action: .read { tensor, context in
            guard let chosen = try chosen(position, tensor, context) else { return }
            try body(chosen.rows, chosen.context)
        }, position: position)
    }

    private static func chosen(_ position: HookPosition, _ tensor: Tensor,
                               _ context: HookContext) throws -> Chosen? {
        // An axis of other positions (an encoder's, as its reader sees them) has none of these places.
        let axes = context.site.row.axes, held = axes.contains(.pos) ? context.positions.count : context.positions.upperBound
        if context.routed == nil {
            guard let axis = context.site.positionAxis, [.pos, .keyPos].contains(axes[axis]), axis < tensor.rank,
                  tensor.shape[axis] == held, tensor.shape[0] == context.isReal.count else {
                throw LensError(.usage, "this activation has no positions of the sequence", at: context.name, expected: "an axis of positions",
                                found: "\(axes.map(\.rawValue))", advice: "edit it whole")
            }
        }
        if case .absolutePerRow(let wanted) = position, wanted.count != context.isReal.count {
            throw LensError(.usage, "positions for another number of rows", at: context.name, expected: "\(context.isReal.count) rows",
                            found: "\(wanted.count)")
        }
        var context = context
        context.places = context.places(at: position)
        guard let routed = context.routed else {
            guard !context.places.isEmpty else { return nil }
            return try Chosen(context.places, context.site.positionAxis ?? 1, tensor, context)
        }
        // An expert's rows are tokens: those of the chosen places, which come as often as they go to it.
        let length = context.positions.count
        let found = context.places.flatMap { place in
            routed.indices.filter { routed[$0] == place.row * length + place.index }.map { (place, HookPlace(row: 0, index: $0, position: place.position)) }
        }
        guard !found.isEmpty else { return nil }
        context.places = found.map(\.0)
        return try Chosen(found.map(\.1), 1, tensor.reshaped([1] + tensor.shape), context)
    }

    /// The entries at chosen positions, and where they came from.
    private struct Chosen {
        let rows: Tensor, context: HookContext
        private let places: [HookPlace], axis: Int, shape: [Int]

        init(_ places: [HookPlace], _ axis: Int, _ tensor: Tensor, _ context: HookContext) throws {
            rows = try tensor.rows(at: places, axis: axis)
            (self.places, self.axis, self.context, shape) = (places, axis, context, tensor.shape)
        }

        func put(_ rows: Tensor, into tensor: inout Tensor) throws {
            let whole = tensor.shape
            tensor = try tensor.reshaped(shape)
            try tensor.put(rows, at: places, axis: axis)
            tensor = try tensor.reshaped(whole)
        }
    }
}

extension Tensor {
    /// The entries at `places` of a `[batch, …, pos, …]` tensor whose position axis is `axis`: `[place, …, …]`.
    package func rows(at places: [HookPlace], axis: Int) throws -> Tensor {
        let middle = shape[1..<axis].reduce(1, *), rest = shape[(axis + 1)...].reduce(1, *), length = shape[axis]
        var out = Tensor(zeros: [places.count] + shape[1..<axis] + shape[(axis + 1)...])
        try withUnsafeElements { source in
            try out.withUnsafeMutableElements { target in
                for (index, place) in places.enumerated() {
                    for m in 0..<middle {
                        let from = ((place.row * middle + m) * length + place.index) * rest, to = (index * middle + m) * rest
                        _ = UnsafeMutableBufferPointer(rebasing: target[to..<to + rest]).update(fromContentsOf: source[from..<from + rest])
                    }
                }
            }
        }
        let shape = shape
        return out.recorded("rows", from: self) { gradient in
            var whole = Tensor(zeros: shape)
            try whole.put(gradient, at: places, axis: axis)
            return whole
        }
    }

    /// Puts entries back where `rows(at:axis:)` took them.
    package mutating func put(_ rows: Tensor, at places: [HookPlace], axis: Int) throws {
        let middle = shape[1..<axis].reduce(1, *), rest = shape[(axis + 1)...].reduce(1, *), length = shape[axis], before = graph
        self = detached()
        try rows.withUnsafeElements { source in
            try withUnsafeMutableElements { target in
                for (index, place) in places.enumerated() {
                    for m in 0..<middle {
                        let to = ((place.row * middle + m) * length + place.index) * rest, from = (index * middle + m) * rest
                        _ = UnsafeMutableBufferPointer(rebasing: target[to..<to + rest]).update(fromContentsOf: source[from..<from + rest])
                    }
                }
            }
        }
        let rowsShape = rows.shape
        self = recorded("put rows", from: [before, rows.graph]) { request in
            let gradient = try request.first()
            var kept = gradient
            if request.wants[0] { try kept.put(Tensor(zeros: rowsShape), at: places, axis: axis) }
            return [kept, request.wants[1] ? try gradient.rows(at: places, axis: axis) : nil]
        }
    }
}
