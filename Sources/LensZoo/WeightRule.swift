// What a checkpoint's tensor means: which parameter it fills, and how it lies in the file.

import LensFiles
import LensModel

/// One parameter's place in a checkpoint. `{i}` in both names is the layer, `{e}` the expert; `{h}` in the source is the head, of a
/// parameter `[head, …]` that has a tensor for each.
struct WeightRule: Sendable {
    let parameter: String
    let source: String
    let form: Form
    let outputs: Outputs
    /// What becomes of a `plain` tensor's elements.
    var change = Change.none
    /// Another name some files of the family have for it.
    var otherSource: String?
    /// Which of the tensor's first axis, `[experts, …]`, is the parameter's.
    var expert: Int?
    /// Where else files of the family may have it, in another form.
    var others: [WeightRule] = []
    /// The layers that have it; nil: all.
    var layers: [Int]?

    enum Change: Sendable {
        case none
        /// The file keeps a norm's weight less one.
        case plusOne
        /// The model multiplies by it wherever it reads the tensor.
        case times(Float)

        func callAsFunction(_ element: Float) -> Float {
            switch self {
            case .none: return element
            case .plusOne: return 1 + element
            case .times(let factor): return factor * element
            }
        }
    }

    /// How the tensor lies in the file.
    enum Form: Sendable {
        /// As the parameter, element for element.
        case plain
        /// `[out, in]`, as torch's Linear keeps it; packed as `[in, out]`.
        case linear
        /// `[in, out]`, as GPT-2's Conv1D keeps it.
        case conv1D
        /// `[out, in]` in 4-bit floats: `…_blocks` `[out, in / 32, 16]` and `…_scales` `[out, in / 32]`.
        case mxfp4
    }

    /// Which of the tensor's outputs are the parameter's.
    enum Outputs: Sendable {
        case all
        /// The `part`-th of `of` equal parts.
        case part(Int, of: Int)
        /// These outputs out of `of`.
        case span(Range<Int>, of: Int)
        /// `width` outputs from `offset` on in every `every`: heads whose queries, keys and values lie side by side.
        case groups(offset: Int, width: Int, every: Int)
        /// Each `step`-th output from `offset` on.
        case strided(offset: Int, step: Int)

        /// The tensor's outputs, where the parameter has `count`.
        func total(for count: Int) -> Int {
            switch self {
            case .all: return count
            case .part(_, let parts): return count * parts
            case .span(_, let total): return total
            case .groups(_, let width, let every): return count / width * every
            case .strided(_, let step): return count * step
            }
        }

        /// The same for a table of rows of `width`, whose outputs are its elements: which of the tensor's rows.
        func rows(of width: Int) -> Outputs {
            switch self {
            case .all, .part, .strided: return self
            case .span(let range, let total): return .span(range.lowerBound / width..<range.upperBound / width, of: total / width)
            case .groups(let offset, let size, let every): return .groups(offset: offset / width, width: size / width, every: every / width)
            }
        }

        /// Outputs of the tensor at equal distances.
        struct Run {
            let start: Int, count: Int
            var step = 1
        }

        /// Whether outputs that follow each other do so in the tensor.
        var isContiguous: Bool { if case .strided = self { false } else { true } }

        /// Where the parameter's `count` outputs lie in the tensor, in order.
        func runs(for count: Int) -> [Run] {
            switch self {
            case .all: return [Run(start: 0, count: count)]
            case .part(let part, _): return [Run(start: part * count, count: count)]
            case .span(let range, _): return [Run(start: range.lowerBound, count: range.count)]
            case .groups(let offset, let width, let every):
                return (0..<count / width).map { Run(start: every * $0 + offset, count: width) }
            case .strided(let offset, let step): return [Run(start: offset, count: count, step: step)]
            }
        }
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

    static func mxfp4(_ parameter: String, from source: String, _ outputs: Outputs = .all) -> WeightRule {
        WeightRule(parameter: parameter, source: source, form: .mxfp4, outputs: outputs)
    }

    /// Weight and bias of a layer norm.
    static func layerNorm(_ parameter: String, from source: String) -> [WeightRule] {
        [.plain("\(parameter).w", from: "\(source).weight"), .plain("\(parameter).b", from: "\(source).bias")]
    }

    /// Queries, keys and values in one linear layer, group by group: the queries of `nHeads / kvHeads` heads, their keys, their
    /// values, each `d_head` outputs. With keys for each head that is `(head, 3, d_head)`; with one for all, queries come first.
    static func fusedHeads(_ config: ModelConfig, from source: String) -> [WeightRule] {
        let raw = config.nKeyValueHeads == nil ? "" : "_", group = config.nHeads / config.kvHeads, width = config.dHead
        let places = [("Q", "", 0, group), ("K", raw, group, 1), ("V", raw, group + 1, 1)]
        return places.flatMap { name, raw, first, count -> [WeightRule] in
            let outputs = Outputs.groups(offset: first * width, width: count * width, every: (group + 2) * width)
            return [.linear("blocks.{i}.attn.\(raw)W_\(name)", from: "\(source).weight", outputs),
                    .plain("blocks.{i}.attn.\(raw)b_\(name)", from: "\(source).bias", outputs)]
        }
    }

    /// The tensors it may be read from.
    var tensors: [String] {
        form == .mxfp4 ? [source + "_blocks", source + "_scales"] : [source, otherSource].compactMap(\.self)
    }

    /// The rule and its other forms, the likelier first.
    var places: [WeightRule] { [self] + others }

    /// The same rule, for a tensor that some files call by another name.
    func or(_ source: String) -> WeightRule {
        var rule = self
        rule.otherSource = source
        return rule
    }

    /// The same rule, for a tensor that some files have in another form.
    func or(_ other: WeightRule) -> WeightRule {
        var rule = self
        rule.others.append(other)
        return rule
    }

    /// The same rule, for one expert's part of a tensor `[experts, …]`.
    func ofExpert(_ expert: Int) -> WeightRule {
        var rule = self
        rule.expert = expert
        return rule
    }

    /// The same rule, for some layers only.
    func only(in layers: [Int]) -> WeightRule {
        var rule = self
        rule.layers = layers
        return rule
    }

    /// The same rule, its elements changed as they are read.
    func changed(_ change: Change) -> WeightRule {
        var rule = self
        rule.change = change
        return rule
    }

    /// Token embeddings and unembedding. Tied, they are kept once, as W_U.
    /// - Parameter scale: what the model multiplies embeddings by.
    static func embeddings(_ table: String, head: String, tied: Bool, scale: Double = 1) -> [WeightRule] {
        let embedding = WeightRule.plain("embed.W_E", from: table).changed(scale == 1 ? .none : .times(Float(scale)))
        return tied ? [.linear("unembed.W_U", from: table)] : [embedding, .linear("unembed.W_U", from: head)]
    }

    /// A layer of an encoder's heads, `[out, in]` and its bias.
    static func layer(_ parameter: String, from source: String) -> [WeightRule] {
        [.linear("\(parameter).W", from: "\(source).weight"), .plain("\(parameter).b", from: "\(source).bias")]
    }

    /// Embeddings and unembedding of an encoder: its table alone, where nothing is unembedded.
    static func encoderEmbeddings(_ config: ModelConfig, _ table: String, head: String, bias: String, or otherBias: String) -> [WeightRule] {
        let embedding = WeightRule.plain("embed.embed.W_E", from: table)
        guard config.unembeds else { return [embedding] }
        // An output matrix of its own has its own bias; tied, the bias beside it is meant.
        if config.tiesEmbeddings { return [.linear("unembed.W_U", from: table), WeightRule.plain("unembed.b_U", from: bias).or(otherBias)] }
        return [embedding, .linear("unembed.W_U", from: head), WeightRule.plain("unembed.b_U", from: otherBias).or(bias)]
    }

    /// The position table of an encoder, whose first rows may stand for nothing.
    static func encoderPositions(_ config: ModelConfig, from source: String) -> WeightRule {
        let unused = (config.encoderParts?.unusedPositions ?? 0) * config.dModel, table = config.nCtx * config.dModel
        return .plain("embed.pos_embed.W_pos", from: source, .span(unused..<unused + table, of: unused + table))
    }

    /// The names of its tensors, where the parameter has this shape: one, or one for each head.
    func sources(for shape: [Int]) -> [String] {
        guard source.contains("{h}") else { return [source] }
        return (0..<(shape.first ?? 0)).map { Self.fill(source, "{h}", $0) }
    }

    private static func fill(_ text: String, _ place: String, _ number: Int) -> String {
        text.split(separator: place, omittingEmptySubsequences: false).joined(separator: "\(number)")
    }

    /// The rule for one layer, or itself if it is not per layer.
    func expanded(layers: Int) -> [WeightRule] {
        guard parameter.contains("{i}") else { return [self] }
        return (self.layers ?? Array(0..<layers)).map { filled("{i}", $0) }
    }

    /// The rule with a number in place of `{i}` or `{e}`.
    func filled(_ mark: String, _ number: Int) -> WeightRule {
        func fill(_ text: String) -> String { Self.fill(text, mark, number) }
        var rule = WeightRule(parameter: fill(parameter), source: fill(source), form: form, outputs: outputs)
        rule.change = change
        rule.otherSource = otherSource.map(fill)
        rule.expert = expert
        rule.others = others.map { $0.filled(mark, number) }
        return rule
    }
}
