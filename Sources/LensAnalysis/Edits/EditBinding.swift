// Edits bound to a model: files read, other prompts run, names resolved, heads and sizes checked; what comes out are hooks.

import LensFiles
import LensHooks
import LensModel
import LensTensor

extension Edit {
    /// Hooks that make the edits, in their order.
    ///
    /// - Parameters:
    ///   - tokens: how text becomes tokens, for patches and means that name prompts.
    /// - Throws: `LensError` naming the edit: `(.name)` for an unknown site, `(.usage)` for heads or sizes that do not fit,
    ///   what files and runs throw.
    public static func hooks(_ edits: [Edit], for model: Transformer, tokens: (String) throws -> [Int]) throws -> [Hook] {
        try edits.enumerated().flatMap { index, edit in
            do { return try EditBinding(edit, model, tokens).hooks() } catch let error as LensError {
                throw error.located(in: edits.count > 1 ? "edit \(index + 1) (\(edit.name) \(edit.site))" : "edit \(edit.name) \(edit.site)")
            }
        }
    }

    /// The operation's name.
    var name: String { json["op"]?.stringValue ?? "" }
}

/// One edit and its model.
private struct EditBinding {
    let edit: Edit
    let model: Transformer
    let points: [HookPoint]
    /// Activations of other prompts or of a saved run by full name, one for each prompt: `[pos, …]`.
    private var origins: [String: [Tensor]] = [:]
    private var value: Tensor?

    init(_ edit: Edit, _ model: Transformer, _ tokens: (String) throws -> [Int]) throws {
        self.edit = edit
        self.model = model
        points = try ActivationFilter.names([edit.site]).resolve(in: model.config.hookPoints)
        if let heads = edit.heads {
            for point in points {
                guard let axis = point.site.row.axes.first(where: { $0 == .head || $0 == .kvHead }), let count = model.config.size(of: axis) else {
                    throw LensError(.usage, "this activation has no heads", at: point.name, expected: "an edit without heads")
                }
                if let wrong = heads.first(where: { $0 >= count }) {
                    throw LensError(.usage, "no such head", at: point.name, expected: "0..<\(count)", found: "\(wrong)")
                }
            }
        }
        try load(tokens)
    }

    private mutating func load(_ tokens: (String) throws -> [Int]) throws {
        switch edit.operation {
        case .zero, .scale: break
        case .add(let given, let by): value = try Self.tensor(given) * Tensor(Float(by))
        case .set(let given): value = try Self.tensor(given)
        case .patch(.prompt(let text), _): try run([tokens(text)])
        case .patch(.tokens(let row), _): try run([row])
        case .patch(.run(let path, let row), _):
            let file = try openTensors(at: path)
            for point in points {
                let whole = try Tensor(stored: point.name, in: file)
                guard whole.rank == point.site.row.axes.count, row < whole.shape[0] else {
                    throw LensError(.usage, "the saved run does not fit", at: "\(path): \(point.name)",
                                    expected: "\(point.site.row.axes.count) axes and a row \(row)", found: "\(whole.shape)")
                }
                origins[point.name] = [try positionsFirst(whole.at(.span(row, row + 1)), point)]
            }
        case .mean(let prompts, let file, _):
            let texts = try file.map(Self.lines) ?? prompts
            try run(texts.map(tokens))
        }
    }

    /// Runs the model on other prompts and keeps the edited sites.
    private mutating func run(_ rows: [[Int]]) throws {
        for row in rows {
            let cache = try model.run(.tokens(IntTensor(rows: [row])), .init(cache: .names(points.map(\.name)), returnType: .none)).cache
            for point in points { origins[point.name, default: []].append(try positionsFirst(cache[point.name], point)) }
        }
    }

    /// `[1, …, pos, …]` as `[pos, …]`.
    private func positionsFirst(_ tensor: Tensor, _ point: HookPoint) throws -> Tensor {
        guard let axis = point.site.positionAxis else { return tensor }
        let count = tensor.shape[axis]
        return try tensor.rows(at: (0..<count).map { HookPlace(row: 0, index: $0, position: $0) }, axis: axis)
    }

    private static func tensor(_ value: Edit.Value) throws -> Tensor {
        switch value {
        case .number(let number): return Tensor(Float(number))
        case .file(let path, let name):
            let source: any TensorSource = try path.hasSuffix(".gguf") ? GGUFFile(path: path) : openTensors(at: path)
            guard let name = name ?? (source.names.count == 1 ? source.names.first : nil) else {
                throw LensError(.usage, "which tensor of the file?", at: path, expected: "tensor=NAME", found: "\(source.names.count) tensors")
            }
            return try Tensor(stored: name, in: source)
        }
    }

    /// The lines of a file of prompts.
    private static func lines(_ path: String) throws -> [String] {
        let bytes = try DataFile(path: path).readAll(limit: 1 << 28)
        guard let text = String(validating: bytes, as: UTF8.self) else { throw LensError(.format, "not UTF-8 text", at: path) }
        let lines = text.split { $0 == "\n" || $0 == "\r\n" }.map(String.init)
        guard !lines.isEmpty else { throw LensError(.format, "no prompts", at: path, expected: "one prompt a line") }
        return lines
    }

    // MARK: Hooks

    func hooks() throws -> [Hook] {
        try points.flatMap { point in
            let means = try mean(point)
            return edit.positions.map { position in
                Hook.edit(.names([point.name]), at: position) { rows, at in try apply(&rows, at, point, position, means) }
            }
        }
    }

    /// Changes the chosen heads of `rows: [place, …]`.
    private func apply(_ rows: inout Tensor, _ at: HookContext, _ point: HookPoint, _ position: HookPosition, _ means: [Tensor]) throws {
        let axes = point.site.row.axes.enumerated().filter { $0.offset != 0 && $0.offset != point.site.positionAxis }.map(\.element)
        let headAxis = axes.firstIndex { $0 == .head || $0 == .kvHead }.map { $0 + 1 }
        let picks: [[TensorIndex]]
        if let heads = edit.heads, let headAxis {
            picks = heads.map { Array(repeating: .all, count: headAxis) + [.at($0)] }
        } else {
            picks = [[]]
        }
        for pick in picks {
            switch edit.operation {
            case .zero: try rows.assign(Tensor(0), at: pick)
            case .scale(let factor): try rows.assign(rows.view(pick) * Tensor(Float(factor)), at: pick)
            case .add: try rows.assign(rows.view(pick) + fitting(rows, pick), at: pick)
            case .set: try rows.assign(fitting(rows, pick), at: pick)
            case .patch(_, let from):
                for (index, place) in at.places.enumerated() {
                    guard let state = try origin(point, position, place, from) else { continue }
                    try put(state, &rows, index, pick)
                }
            case .mean(_, _, let over):
                for (index, place) in at.places.enumerated() {
                    let own = over == .position ? place.position : 0
                    if means.indices.contains(own) { try put(means[own], &rows, index, pick) }
                }
            }
        }
    }

    /// The value where it fits.
    private func fitting(_ rows: Tensor, _ pick: [TensorIndex]) throws -> Tensor {
        let value = value ?? Tensor(0), target = try rows.view(pick).shape
        do { return try value.broadcast(to: target).contiguous() } catch is LensError {
            throw LensError(.usage, "the value does not fit the activation", expected: "something that broadcasts to \(Array(target.dropFirst()))", found: "\(value.shape)")
        }
    }

    /// Puts one position's state into entry `index`, at the picked heads.
    private func put(_ state: Tensor, _ rows: inout Tensor, _ index: Int, _ pick: [TensorIndex]) throws {
        guard state.shape == Array(rows.shape.dropFirst()) else {
            throw LensError(.usage, "the patch does not fit the activation", expected: "\(rows.shape.dropFirst())", found: "\(state.shape)",
                            advice: "scores and patterns fit only where both see as many keys")
        }
        let inner = Array(pick.dropFirst())
        try rows.assign(state.view(inner), at: [.at(index)] + inner)
    }

    /// The other prompt's state for a place; nil if it has none there, which leaves the place alone.
    private func origin(_ point: HookPoint, _ position: HookPosition, _ place: HookPlace, _ from: Int?) throws -> Tensor? {
        guard let states = origins[point.name]?.first else { return nil }
        var wanted = from ?? place.position
        if from == nil, case .absolute(let own) = position { wanted = own }
        if from == nil, position == .lastOfPrompt { wanted = -1 }
        let count = states.shape[0], index = wanted < 0 ? wanted + count : wanted
        guard (0..<count).contains(index) else {
            if from == nil, position == .all || position == .everyNewToken { return nil }
            throw LensError(.usage, "the patch has no such position", at: point.name, expected: "\(-count)..<\(count)", found: "\(wanted)")
        }
        return try states.at(.at(index)).contiguous()
    }

    /// Means of a point over the prompts: one, or one for each position.
    private func mean(_ point: HookPoint) throws -> [Tensor] {
        guard case .mean(_, _, let over) = edit.operation, let states = origins[point.name] else { return [] }
        if point.site.row.axes.last == .keyPos || point.site == .rotK && over == .position {
            throw LensError(.usage, "no mean of this activation: its size differs from prompt to prompt", at: point.name)
        }
        let groups: [[Tensor]]
        switch over {
        case .all: groups = [states]
        case .last: groups = [try states.map { try $0.at(.from(-1)) }]
        case .position:
            groups = try (0..<(states.map { $0.shape[0] }.max() ?? 0)).map { place in
                try states.filter { $0.shape[0] > place }.map { try $0.at(.range(place..<place + 1)) }
            }
        }
        return try groups.map { group in
            let rest = Array(group[0].shape.dropFirst()), width = rest.reduce(1, *)
            var sums = [Double](repeating: 0, count: width), count = 0.0
            for tensor in group {
                for (index, element) in tensor.array.enumerated() { sums[index % width] += Double(element) }
                count += Double(tensor.shape[0])
            }
            return try Tensor(sums.map { Float($0 / count) }, shape: rest)
        }
    }
}
