// Steering: a direction for each of some layers, added to the residual stream while a model runs or generates (Turner et
// al., 2023; Rimsky et al., 2024; representation engineering, Zou et al., 2023).

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Directions by layer, each added to what leaves that block.
public struct SteeringVector: Sendable {
    /// By layer, `[d_model]`. Layer l is the residual stream after block l (`hook_resid_post`), as in llama.cpp.
    public let directions: [Int: Tensor]

    /// - Throws: `LensError(.usage)` for no directions or a negative layer, `(.shape)` if they differ in size.
    public init(directions: [Int: Tensor]) throws {
        guard let width = directions.values.first?.shape.last else { throw LensError(.usage, "a steering vector without directions") }
        for (layer, direction) in directions.sorted(by: { $0.key < $1.key }) {
            guard direction.shape == [width] else {
                throw LensError(.shape, "directions of a steering vector", at: "layer \(layer)", expected: "[\(width)]", found: "\(direction.shape)")
            }
            guard layer >= 0 else { throw LensError(.usage, "no such layer", expected: "0 or more", found: "\(layer)") }
        }
        self.directions = directions
    }

    public var layers: [Int] { directions.keys.sorted() }
    /// Size of the directions.
    public var dModel: Int { directions.values.first?.count ?? 0 }

    /// Hooks that steer: `strength` times each direction is added to the stream at `positions`.
    ///
    /// - Parameters:
    ///   - positions: `.everyNewToken` steers what is generated; `.all` the prompt too.
    ///   - layers: nil: all it has directions for; negative from the end.
    /// - Throws: `LensError(.usage)` if it does not fit the model or has no direction for a layer.
    public func hooks(for config: ModelConfig, strength: Float = 1, at positions: HookPosition = .everyNewToken, layers: [Int]? = nil) throws -> [Hook] {
        guard dModel == config.dModel else {
            throw LensError(.usage, "a steering vector of another width", expected: "\(config.dModel)", found: "\(dModel)")
        }
        return try (layers ?? self.layers).map { layer in
            let layer = layer < 0 ? layer + config.nLayers : layer
            guard (0..<config.nLayers).contains(layer) else {
                throw LensError(.usage, "no such layer", at: "steering vector", expected: "0..<\(config.nLayers)", found: "\(layer)")
            }
            guard let direction = directions[layer] else {
                throw LensError(.usage, "the steering vector has no direction for this layer", at: "layer \(layer)", expected: "one of \(self.layers)")
            }
            let added = try direction * Tensor(strength)
            return Hook.edit(.names([HookPoint(.residPost, layer: layer).name]), at: positions) { rows, _ in rows = try rows + added }
        }
    }

    // MARK: From contrast prompts

    /// How directions come from differences.
    public enum Method: String, Sendable, Hashable, CaseIterable {
        /// The mean of the positive states less the mean of the negative ones.
        case meanDifference = "mean-difference"
        /// The first principal component of the differences, pair by pair, both ways round (repeng's `pca_diff`): length 1,
        /// towards the positive side.
        case pca
    }

    /// Which of a prompt's states count.
    public enum Pooling: String, Sendable, Hashable, CaseIterable {
        /// That of the last token.
        case last
        /// The mean over its tokens.
        case mean
    }

    /// Directions from prompts that show something and prompts that show its opposite.
    ///
    /// - Parameters:
    ///   - positive: prompts of the side to steer to; for `.pca` paired with `negative`.
    ///   - layers: nil: all; negative from the end.
    ///   - normalise: whether each direction gets length 1.
    /// - Throws: `LensError(.usage)` for no prompts, unpaired ones, layers that are not there, or sides that do not differ.
    public static func from(_ model: Transformer, positive: [[Int]], negative: [[Int]], method: Method = .meanDifference,
                            pooling: Pooling = .last, layers: [Int]? = nil, normalise: Bool = false) throws -> SteeringVector {
        guard !positive.isEmpty, !negative.isEmpty else { throw LensError(.usage, "contrast prompts", expected: "at least one on each side") }
        guard method != .pca || positive.count == negative.count else {
            throw LensError(.usage, "contrast prompts come in pairs for pca", expected: "\(positive.count) negative ones", found: "\(negative.count)")
        }
        let wanted = try (layers ?? Array(0..<model.config.nLayers)).map { layer in
            let resolved = layer < 0 ? layer + model.config.nLayers : layer
            guard (0..<model.config.nLayers).contains(resolved) else {
                throw LensError(.usage, "no such layer", expected: "0..<\(model.config.nLayers)", found: "\(layer)")
            }
            return resolved
        }
        let up = try states(model, positive, pooling, wanted), down = try states(model, negative, pooling, wanted)
        return try SteeringVector(directions: wanted.reduce(into: [:]) { directions, layer in
            let direction = try self.direction(up[layer] ?? [], down[layer] ?? [], method, normalise, layer)
            directions[layer] = try Tensor(direction.map { Float($0) }, shape: [model.config.dModel])
        })
    }

    /// A state for each prompt in each layer.
    private static func states(_ model: Transformer, _ prompts: [[Int]], _ pooling: Pooling, _ layers: [Int]) throws -> [Int: [[Double]]] {
        var states: [Int: [[Double]]] = [:]
        let names = layers.map { HookPoint(.residPost, layer: $0).name }
        for prompt in prompts {
            let options = Transformer.Options(cache: .names(names), returnType: .none, stopAtLayer: (layers.max() ?? 0) + 1)
            let cache = try model.run(.tokens(IntTensor(rows: [prompt])), options).cache
            for (layer, name) in zip(layers, names) {
                let stream = try cache[name].at(.at(0))
                let rows = try pooling == .last ? stream.at(.from(-1)) : stream
                let values = rows.array, width = model.config.dModel, count = rows.shape[0]
                states[layer, default: []].append((0..<width).map { d in
                    (0..<count).reduce(0.0) { $0 + Double(values[$1 * width + d]) } / Double(count)
                })
            }
        }
        return states
    }

    private static func direction(_ up: [[Double]], _ down: [[Double]], _ method: Method, _ normalise: Bool, _ layer: Int) throws -> [Double] {
        let width = up[0].count
        func mean(_ rows: [[Double]]) -> [Double] { (0..<width).map { d in rows.reduce(0) { $0 + $1[d] } / Double(rows.count) } }
        var direction = zip(mean(up), mean(down)).map { $0 - $1 }
        if method == .pca {
            let differences = zip(up, down).map { zip($0, $1).map { $0 - $1 } }
            let component = firstComponent(differences)
            // The component has no sign of its own: towards the positive side, by the mean difference.
            let sign = zip(component, direction).reduce(0) { $0 + $1.0 * $1.1 } < 0 ? -1.0 : 1.0
            direction = component.map { $0 * sign }
        }
        let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
        guard length > 0, length.isFinite else {
            throw LensError(.usage, "the contrast prompts do not differ", at: "layer \(layer)", advice: "give prompts that end differently, or pool their mean")
        }
        return normalise ? direction.map { $0 / length } : direction
    }

    /// The direction of largest second moment of `rows` and their negatives (whose mean is zero), length 1, by Jacobi
    /// rotations of the rows' Gram matrix: there are few rows and many columns.
    static func firstComponent(_ rows: [[Double]]) -> [Double] {
        let n = rows.count
        var gram = rows.map { a in rows.map { b in zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } } }
        var vectors = (0..<n).map { i in (0..<n).map { $0 == i ? 1.0 : 0 } }
        for _ in 0..<60 {
            var off = 0.0
            for p in 0..<n {
                for q in p + 1..<max(n, p + 1) where gram[p][q] != 0 {
                    off += gram[p][q] * gram[p][q]
                    let theta = (gram[q][q] - gram[p][p]) / (2 * gram[p][q])
                    let t = (theta < 0 ? -1 : 1) / (abs(theta) + (theta * theta + 1).squareRoot())
                    let c = 1 / (t * t + 1).squareRoot(), s = t * c
                    for k in 0..<n { (gram[k][p], gram[k][q]) = (c * gram[k][p] - s * gram[k][q], s * gram[k][p] + c * gram[k][q]) }
                    for k in 0..<n { (gram[p][k], gram[q][k]) = (c * gram[p][k] - s * gram[q][k], s * gram[p][k] + c * gram[q][k]) }
                    for k in 0..<n { (vectors[k][p], vectors[k][q]) = (c * vectors[k][p] - s * vectors[k][q], s * vectors[k][p] + c * vectors[k][q]) }
                }
            }
            let scale = (0..<n).reduce(0) { $0 + gram[$1][$1] * gram[$1][$1] }
            if off <= 1e-24 * scale { break }
        }
        let best = (0..<n).max { gram[$0][$0] < gram[$1][$1] } ?? 0
        var component = (0..<(rows.first?.count ?? 0)).map { d in (0..<n).reduce(0) { $0 + vectors[$1][best] * rows[$1][d] } }
        let length = component.reduce(0) { $0 + $1 * $1 }.squareRoot()
        if length > 0 { component = component.map { $0 / length } }
        return component
    }
}
