// Attribution patching (Nanda, 2023; Syed et al., 2023): what patching every component would do to the metric, all at once, at
// first order: the component's difference between the two runs times the metric's gradient there. Two passes forward
// and one back instead of a run for each cell.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// What each place of an activation is worth: Σ (clean − corrupted) · gradient, over what is inside the place (a head's or the stream's
/// width). Positive: as it is in the clean run, it raises the metric.
public struct NodeAttribution: AnalysisResult {
    /// TransformerLens' shorthand, `z`.
    public let activationName: String
    /// Where the gradient was taken.
    public let gradientAt: GradientPoint
    /// The names of the axes of `values`, outermost first: `["layer", "pos", "head"]`.
    public let axisNames: [String]
    /// Layers that have the activation: what the first axis stands for. nil for an activation that is in none.
    public let layers: [Int]?
    /// `[axes…]`, or `[axes…, batch]` for a metric that gives a number for each example.
    public let values: Tensor
    /// Whether `values` has a batch axis.
    public let isPerExample: Bool
    /// The metric in the two runs: `[]` or `[batch]`.
    public let clean: Tensor, corrupted: Tensor

    /// The mean over examples: `[axes…]`.
    public var mean: Tensor {
        get throws { isPerExample ? try values.summed(axis: -1).scaled(by: 1 / Float(max(1, values.shape.last ?? 1))) : values }
    }

    /// Summed over some of the axes: positions, say.
    /// - Throws: `LensError(.name)` for one that it has not.
    public func summed(over names: String...) throws -> NodeAttribution {
        var values = values, rest = axisNames
        for name in names {
            guard let axis = rest.firstIndex(of: name) else {
                throw LensError(.name, "no such axis", at: activationName, expected: rest.joined(separator: ", "), found: name)
            }
            values = try values.summed(axis: axis)
            rest.remove(at: axis)
        }
        return NodeAttribution(activationName: activationName, gradientAt: gradientAt, axisNames: rest, layers: rest.contains("layer") ? layers : nil,
                               values: values, isPerExample: isPerExample, clean: clean, corrupted: corrupted)
    }

    /// What stands along each of the axes.
    public var labels: [[String]] {
        zip(axisNames, values.shape).map { name, size in
            switch name {
            case "layer": (layers ?? []).map { "L\($0)" }
            case "head": (0..<size).map { "H\($0)" }
            case "neuron": (0..<size).map { "N\($0)" }
            default: (0..<size).map { "\($0)" }
            }
        }
    }

    public var axisLabels: [(axis: String, labels: [String])] { Array(zip(axisNames, labels)).map { (axis: $0, labels: $1) } }
    public var tensors: [(name: String, tensor: Tensor)] { [("attribution", values), ("clean", clean), ("corrupted", corrupted)] }

    public func json(_ token: (Int) throws -> String) throws -> JSON {
        let mean = try mean
        return ["activation": .string(activationName), "gradient_at": .string(gradientAt.name), "clean": try clean.json, "corrupted": try corrupted.json,
                "axes": .array(axisLabels.map { ["name": .string($0), "labels": .array($1.map(JSON.string))] }),
                "shape": .array(mean.shape.map(JSON.int)), "values": .array(mean.array.map { .double(Double($0)) })]
    }
}

extension GradientPoint {
    /// `clean`, `corrupted`, `integrated (5 steps, right)`.
    public var name: String {
        switch self {
        case .clean: "clean"
        case .corrupted: "corrupted"
        case .integrated(let steps, let rule): "integrated (\(steps) steps, \(rule.rawValue))"
        }
    }
}

extension Patching {
    /// Attribution patching of whole activations.
    ///
    /// - Parameters:
    ///   - activations: shorthands, each over all layers that have it: `resid_pre`, `resid_mid`, `resid_post`, `attn_out`, `mlp_out`; head by head
    ///     `z`, `result`, `q`, `k`, `v` (in grouped models keys and values by their own heads), `pattern`; neuron by neuron `post`; `embed`.
    ///   - point: where the gradient is taken. At the corrupted run the values estimate what restoring does; at the clean one, less what
    ///     corrupting does.
    /// - Returns: a result for each activation, in order; of `resid_pre`: layer × position, `z`: layer × position × head, `pattern`: layer × head ×
    ///   destination × source, as the sweeps of `getActPatch` have them.
    /// - Throws: `LensError(.name)` for an activation the model has not, `(.usage)` for one that is no number for each position; what the metric
    ///   throws.
    public static func attributionPatch(_ model: Transformer, _ pair: PromptPair, metric: GradientMetric, activations: [String],
                                        gradientAt point: GradientPoint, options: AttributionOptions = AttributionOptions()) throws -> [NodeAttribution] {
        let asked = try activations.map { try AttributedActivation($0, model.config) }
        guard !asked.isEmpty else { return [] }
        let runs = GradientRuns(model: model, pair: pair, metric: metric, options: options)
        let found = try runs.paired(.names(asked.flatMap { $0.points.map(\.name) }), at: point)
        return try asked.map { try $0.attribution(found, point, mask: pair.attentionMask) }
    }
}

/// An activation in all the layers that have it.
private struct AttributedActivation {
    let name: String
    let points: [HookPoint]
    /// Axes of the activation after the batch that are kept, by their names in the result.
    let axisNames: [String]
    /// Whether the last axis is summed over.
    let sumsLast: Bool
    /// The axes of positions, the batch's counted.
    let positionAxes: [Int]

    init(_ name: String, _ config: ModelConfig) throws {
        self.name = name
        let all = config.hookPoints
        // A shorthand means a site; in which layers it exists is the model's affair.
        let wanted = Set((0..<max(1, config.nLayers)).map { actName(name, layer: $0) } + [actName(name)])
        points = all.filter { wanted.contains($0.name) }
        guard let first = points.first else {
            // Throws, naming the nearest.
            _ = try config.hookPoint(named: actName(name, layer: 0))
            throw LensError(.name, "this model has no such activation", at: name)
        }
        var axes = config.axes(of: first.site)
        guard axes.first == .batch, first.site.isContinuous, !axes.contains(.routed), points.allSatisfy({ $0.site == first.site }) else {
            throw LensError(.usage, "no attribution of this activation", at: name, expected: "one with a number for each example and position")
        }
        positionAxes = axes.indices.filter { [.pos, .keyPos].contains(axes[$0]) }
        axes.removeFirst()
        let inside: Set<HookAxis> = [.dModel, .dHead, .one, .heads, .kvHeads]
        sumsLast = axes.last.map(inside.contains) ?? false
        let kept = sumsLast ? axes.dropLast() : axes[...]
        let isSquare = kept.contains(.pos) && kept.contains(.keyPos)
        axisNames = (first.layer == nil ? [] : ["layer"]) + kept.map { axis in
            switch axis {
            case .pos: isSquare ? "dest_pos" : "pos"
            case .keyPos: isSquare ? "src_pos" : "pos"
            case .head, .kvHead: "head"
            case .dMlp, .dShared: "neuron"
            default: axis.rawValue
            }
        }
    }

    func attribution(_ found: PairedRuns, _ point: GradientPoint, mask: IntTensor?) throws -> NodeAttribution {
        let isPerExample = found.cleanMetric.rank == 1
        let parts = try points.map { point -> Tensor in
            var product = try weightedDifference(found.clean[point.name], found.corrupted[point.name], found.gradients[point.name])
            product = try withoutPadding(product, mask)
            if sumsLast { product = try product.summed(axis: -1) }
            return isPerExample ? try product.movingAxis(0, to: -1).contiguous() : try product.summed(axis: 0)
        }
        let isInLayers = axisNames.first == "layer"
        return NodeAttribution(activationName: name, gradientAt: point, axisNames: axisNames, layers: isInLayers ? points.compactMap(\.layer) : nil,
                               values: isInLayers ? try Tensor.stacked(parts) : parts[0], isPerExample: isPerExample,
                               clean: found.cleanMetric, corrupted: found.corruptedMetric)
    }

    /// Nothing is attributed to positions that are no part of the text.
    private func withoutPadding(_ product: Tensor, _ mask: IntTensor?) throws -> Tensor {
        guard let mask else { return product }
        var product = product
        for axis in positionAxes {
            for (row, reals) in mask.rows.enumerated() {
                for (position, real) in reals.enumerated() where real == 0 {
                    var place = Array(repeating: TensorIndex.all, count: axis + 1)
                    place[0] = .at(row)
                    place[axis] = .at(position)
                    try product.assign(0, at: place)
                }
            }
        }
        return product
    }
}

/// (clean − corrupted) · gradient, element by element; 0 where the two are the same, also where both are infinite (masked scores).
func weightedDifference(_ clean: Tensor, _ corrupted: Tensor, _ gradient: Tensor) throws -> Tensor {
    guard clean.shape == corrupted.shape, clean.shape == gradient.shape else {
        throw LensError(.shape, "activations of two runs", expected: "\(clean.shape)", found: "\(corrupted.shape) and a gradient \(gradient.shape)")
    }
    var out = Tensor(zeros: clean.shape)
    try out.withUnsafeMutableElements { out in
        try clean.withUnsafeElements { clean in
            try corrupted.withUnsafeElements { corrupted in
                try gradient.withUnsafeElements { gradient in
                    for i in out.indices where clean[i] != corrupted[i] { out[i] = (clean[i] - corrupted[i]) * gradient[i] }
                }
            }
        }
    }
    return out
}
