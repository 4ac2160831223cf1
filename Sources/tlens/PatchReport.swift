// What `tlens patch` prints: a heatmap of two axes (of more: the cell of greatest effect along the rest), the strongest
// cells, and for several prompts how sure they are.

import TransformerLens

struct PatchReport {
    private let experiment: PatchExperiment
    private let result: PatchingResult
    private let title: String
    /// Labels of each axis.
    private let labels: [[String]]
    /// The metric of the clean and of the corrupted run.
    private let clean: Double, corrupted: Double
    /// What is shown for each cell.
    private let shown: [Double]
    private let isNormalized: Bool
    private let isNoising: Bool

    init(_ experiment: PatchExperiment, command: Patch, _ result: PatchingResult, model: HookedTransformer) throws {
        self.experiment = experiment
        self.result = result
        isNoising = command.noising
        let direction = command.noising ? "corrupted into clean" : "clean into corrupted"
        title = (command.to.isEmpty ? command.what : "heads straight to \(command.to.joined(separator: ", "))") + ", \(direction)" + (command.estimate ? ", estimated" : "")
        var run = Transformer.Options(returnType: .logits)
        run.attentionMask = experiment.mask
        run.onlyLastLogits = true
        func metric(_ tokens: IntTensor) throws -> Double {
            let logits = try model.model.run(.tokens(tokens), run).logits
            return try logits.map { try Statistics.mean(experiment.metric.values($0).map(Double.init)) } ?? .nan
        }
        clean = try metric(experiment.clean)
        corrupted = try metric(experiment.corrupted)
        let means = try result.mean.array.map(Double.init)
        isNormalized = !command.raw && clean != corrupted
        let (from, to) = (corrupted, clean), isNormalized = isNormalized
        shown = means.map { isNormalized ? ($0 - from) / (to - from) : $0 }
        // Positions by the first prompt's tokens: both runs' where they differ.
        let row = experiment.clean.row(0), other = experiment.corrupted.row(0)
        let positions = try row.indices.map { place -> String in
            let token = try model.shown(row[place])
            return "\(place) " + (row[place] == other[place] ? token : "\(token)/\(try model.shown(other[place]))")
        }
        labels = zip(result.axisNames, result.values.shape).map { name, size in
            switch name {
            case "layer": numbered("L", size)
            case "head", "head_index": numbered("H", size)
            default: Array(positions.prefix(size))
            }
        }
    }

    /// The value of the unpatched run as it is shown.
    private var middle: Double { isNormalized ? (isNoising ? 1 : 0) : (isNoising ? clean : corrupted) }

    func text(_ top: Int, _ terminal: Terminal) throws -> String {
        var parts = [heatmap(terminal)]
        var table = TextTable(["cell", isNormalized ? "#share" : "#metric", "#metric"].enumerated().filter { isNormalized || $0.offset != 2 }.map(\.element)
            + (isSampled ? ["#std. error", "#p"] : []))
        let means = try result.mean.array
        let errors = isSampled ? try result.standardError.array : [], chances = isSampled ? try result.permutationPValue().array : []
        for cell in ranked.prefix(top) {
            var row = [name(cell), fixed(shown[cell], 4)] + (isNormalized ? [fixed(Double(means[cell]), 4)] : [])
            if isSampled { row += [fixed(Double(errors[cell]), 4), fixed(Double(chances[cell]), 4)] }
            table.add(row)
        }
        parts.append(table.text(on: terminal))
        parts.append("\(experiment.metricName): clean \(fixed(clean, 4)), corrupted \(fixed(corrupted, 4))")
        return parts.joined(separator: "\n\n")
    }

    private var isSampled: Bool { result.isPerExample && experiment.clean.shape[0] > 1 }

    /// Cells by how far they are from the unpatched run.
    private var ranked: [Int] {
        shown.indices.sorted { (abs(shown[$0] - middle), $1) > (abs(shown[$1] - middle), $0) }
    }

    private func name(_ cell: Int) -> String {
        zip(result.indices[cell], zip(result.axisNames, labels)).map { index, axis in
            axis.0 == "src_pos" ? "← " + axis.1[index] : axis.1[index]
        }.joined(separator: " ")
    }

    private func heatmap(_ terminal: Terminal) -> String {
        let shape = labels.map(\.count)
        // Layers by what comes second: of by-position sweeps of heads, heads.
        let column = result.axisNames.count == 2 ? 1 : result.axisNames.firstIndex { $0.hasPrefix("head") } ?? 1
        var strongest = [Double](repeating: .nan, count: shape[0] * shape[column])
        for (cell, index) in result.indices.enumerated() {
            let place = index[0] * shape[column] + index[column]
            if strongest[place].isNaN || abs(shown[cell] - middle) > abs(strongest[place] - middle) { strongest[place] = shown[cell] }
        }
        let isReduced = result.axisNames.count > 2
        let full = title + (isReduced ? " (the position of greatest effect)" : "")
        let columns = labels[column]
        // Long rows of positions are read better from above.
        return Heatmap(full, rows: column == 1 && result.axisNames[1] == "pos" ? columns : labels[0],
                       columns: column == 1 && result.axisNames[1] == "pos" ? labels[0] : columns,
                       values: column == 1 && result.axisNames[1] == "pos" ? transposed(strongest, shape[0], shape[column]) : strongest,
                       digits: 2, scale: .diverging(middle: middle)).text(on: terminal)
    }

    private func transposed(_ values: [Double], _ rows: Int, _ columns: Int) -> [Double] {
        (0..<values.count).map { values[$0 % rows * columns + $0 / rows] }
    }

    func json(_ top: Int) throws -> JSON {
        let means = try result.mean
        return ["title": .string(title), "metric": .string(experiment.metricName), "clean": .double(clean), "corrupted": .double(corrupted),
                "axes": .array(zip(result.axisNames, labels).map { ["name": .string($0), "labels": .array($1.map(JSON.string))] }),
                "shape": .array(means.shape.map(JSON.int)), "values": .array(means.array.map { .double(Double($0)) }),
                "normalized": isNormalized ? .array(shown.map(JSON.double)) : .null,
                "standard_error": isSampled ? .array(try result.standardError.array.map { .double(Double($0)) }) : .null,
                "p_value": isSampled ? .array(try result.permutationPValue().array.map { .double(Double($0)) }) : .null,
                "top": .array(ranked.prefix(top).map { ["index": .array(result.indices[$0].map(JSON.int)), "cell": .string(name($0)), "value": .double(shown[$0])] })]
    }

    func write(_ file: OutFileOption) throws {
        var tensors = [LabelledTensor(name: "values", tensor: try result.mean, labels: labels),
                       LabelledTensor("clean", Tensor(Float(clean))), LabelledTensor("corrupted", Tensor(Float(corrupted)))]
        if isSampled { tensors.append(LabelledTensor(name: "per_example", tensor: result.values, labels: labels + [numbered("pair ", experiment.clean.shape[0])])) }
        try file.write(tensors)
    }
}
