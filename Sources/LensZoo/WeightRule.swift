// What a checkpoint's tensor means: which parameter it fills, and how it lies in the file.

import LensFiles
import LensModel

/// One parameter's place in a checkpoint. `{i}` in both names is the layer.
struct WeightRule: Sendable {
    let parameter: String
    let source: String
    let form: Form
    let outputs: Outputs

    /// How the tensor lies in the file.
    enum Form: Sendable {
        /// As the parameter, element for element.
        case plain
        /// `[out, in]`, as torch's Linear keeps it; packed as `[in, out]`.
        case linear
        /// `[in, out]`, as GPT-2's Conv1D keeps it.
        case conv1D
    }

    /// Which of the tensor's outputs are the parameter's.
    enum Outputs: Sendable {
        case all
        /// The `part`-th of `of` equal parts.
        case part(Int, of: Int)

        /// The range of outputs out of `count`.
        func range(of count: Int) -> Range<Int> {
            switch self {
            case .all: return 0..<count
            case .part(let part, let parts): return count / parts * part..<count / parts * (part + 1)
            }
        }

        /// Equal parts the tensor is made of.
        var parts: Int { if case .part(_, let parts) = self { return parts } else { return 1 } }
    }

    static func plain(_ parameter: String, from source: String, _ outputs: Outputs = .all) -> WeightRule {
        WeightRule(parameter: parameter, source: source, form: .plain, outputs: outputs)
    }

    static func linear(_ parameter: String, from source: String, _ outputs: Outputs = .all) -> WeightRule {
        WeightRule(parameter: parameter, source: source, form: .linear, outputs: outputs)
    }

    static func conv1D(_ parameter: String, from source: String, _ outputs: Outputs = .all) -> WeightRule {
        WeightRule(parameter: parameter, source: source, form: .conv1D, outputs: outputs)
    }

    /// Token embeddings and unembedding. Tied, they are kept once, as W_U.
    static func embeddings(_ table: String, head: String, tied: Bool) -> [WeightRule] {
        tied ? [.linear("unembed.W_U", from: table)] : [.plain("embed.W_E", from: table), .linear("unembed.W_U", from: head)]
    }

    /// The rule for one layer, or itself if it is not per layer.
    func expanded(layers: Int) -> [WeightRule] {
        guard parameter.contains("{i}") else { return [self] }
        func fill(_ text: String, _ layer: Int) -> String {
            text.split(separator: "{i}", omittingEmptySubsequences: false).joined(separator: "\(layer)")
        }
        return (0..<layers).map { layer in
            WeightRule(parameter: fill(parameter, layer), source: fill(source, layer), form: form, outputs: outputs)
        }
    }
}
