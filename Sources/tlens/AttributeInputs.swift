// `tlens attribute --method gradient|…`: which tokens of the prompt the answer's logit comes from.

import ArgumentParser
import TransformerLens

/// How `tlens attribute` attributes: to the model's parts, or to the prompt's tokens.
enum AttributeMethod: String, ExpressibleByArgument, CaseIterable {
    case direct, gradient
    case gradientTimesInput = "gradient-times-input"
    case integrated

    /// nil: not to tokens.
    var ofInputs: InputAttributionMethod? { InputAttributionMethod(rawValue: rawValue) }
}

/// Input attributions of several prompts, one run after another.
struct InputAttributions {
    private let found: [InputAttribution]
    private let rows: [[Int]]
    private let model: HookedTransformer
    private let method: InputAttributionMethod
    private let metricName: String

    /// - Parameters:
    ///   - right, wrong: answers, one for all rows or one for each.
    init(_ command: Attribute, _ method: InputAttributionMethod, _ model: HookedTransformer, _ rows: [[Int]], right: [Int], wrong: [Int]) throws {
        (self.rows, self.model, self.method) = (rows, model, method)
        metricName = wrong.isEmpty ? "logit of the answer" : "logit of the answer less that of the wrong one"
        let meter = ProgressMeter("gradients", command.output), total = rows.count * command.steps
        found = try rows.enumerated().map { index, row in
            let place = right.count == 1 ? 0 : index
            guard (-row.count..<row.count).contains(command.position) else {
                throw LensError(.usage, "no such position", at: "row \(index)", expected: "\(-row.count)..<\(row.count)", found: "\(command.position)")
            }
            let metric: GradientMetric = wrong.isEmpty ? .logit(answers: [right[place]], positions: [command.position])
                : .logitDifference(answers: [right[place]], wrong: [wrong[place]], positions: [command.position])
            let options = AttributionOptions { done, _ in meter.advance(to: index * command.steps + done, of: total) }
            return try model.model.inputAttribution(IntTensor(rows: [row]), metric: metric, method: method, baseline: command.baseline == .mean ? .mean : .zero,
                                                    steps: command.steps, options: options)
        }
        meter.finish()
    }

    var tensors: [LabelledTensor] {
        get throws {
            try found.enumerated().flatMap { index, one in
                [LabelledTensor("attribution.\(index)", try one.values.reshaped([rows[index].count]), try rows[index].map(model.shown)),
                 LabelledTensor("metric.\(index)", one.metric)]
            }
        }
    }

    func json() throws -> JSON {
        ["method": .string(method.rawValue), "metric": .string(metricName), "rows": .array(try zip(rows, found).map { row, one in
            let values = one.values.array
            return ["metric": .double(Double(one.metric.array[0])), "baseline_metric": one.baselineMetric.map { .double(Double($0.array[0])) } ?? .null,
                    "completeness_gap": one.completenessGap.map { .double(Double($0.array[0])) } ?? .null,
                    "tokens": .array(try row.enumerated().map { place, id in
                        ["token": .int(id), "text": .string(model.tokenizer == nil ? "\(id)" : try model.decoded([id])), "value": .double(Double(values[place]))]
                    })]
        })]
    }

    func text(_ terminal: Terminal) throws -> String {
        try found.enumerated().map { index, one in
            let values = one.values.array.map(Double.init), most = values.map(abs).filter(\.isFinite).max() ?? 0
            var table = TextTable(["#", "token", "#\(method.rawValue)", ""])
            for (place, token) in rows[index].enumerated() {
                let length = most > 0 && values[place].isFinite ? Int((abs(values[place]) / most * 20).rounded()) : 0
                table.add(["\(place)", try model.shown(token), fixed(values[place], 4), (values[place] < 0 ? "−" : "+") + String(repeating: "▇", count: length)])
            }
            var lines = [table.text(on: terminal), "\(metricName): \(fixed(Double(one.metric.array[0]), 4))"]
            if let start = one.baselineMetric { lines[1] += ", at the baseline \(fixed(Double(start.array[0]), 4))" }
            if let gap = one.completenessGap {
                lines[1] += "; the tokens sum to \(fixed(values.reduce(0, +), 4)), \(fixed(abs(Double(gap.array[0])), 4)) from the difference"
            }
            return lines.joined(separator: "\n\n")
        }.joined(separator: "\n\n")
    }
}
