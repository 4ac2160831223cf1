// Many runs of one input that differ by an edit each: the engine under activation and path patching. Cells that edit the
// same layers first are run together, as rows of one batch, from the first layer they change, whose input is that of the
// unedited run. Because a row's bits depend on nothing but the row, what a cell gives is bit for bit what a run of its own
// over all layers gives.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// One run of a sweep: the edits it makes.
struct PatchingCell {
    /// Changes the cell's rows of an activation.
    typealias Edit = (inout Tensor, Range<Int>) throws -> Void

    /// The edits by full activation name, in the order they were given.
    var edits: [(name: String, edit: Edit)]
}

/// How a sweep is run. None of it changes a result.
public struct PatchingOptions {
    /// 1 for real tokens, 0 for padding: `[batch, pos]`; nil: all real.
    public var attentionMask: IntTensor?
    /// Logits of the last position only reach the metric, as `[batch, 1, d_vocab_out]`: cheaper where it looks no further.
    public var onlyLastLogits = false
    /// Tokens that may go through the model at once; cells are batched up to it.
    public var tokensAtOnce = 1024
    /// Told after each cell how many of how many are done.
    public var progress: ((Int, Int) -> Void)?

    public init(attentionMask: IntTensor? = nil, onlyLastLogits: Bool = false, tokensAtOnce: Int = 1024,
                progress: ((Int, Int) -> Void)? = nil) {
        self.attentionMask = attentionMask
        self.onlyLastLogits = onlyLastLogits
        self.tokensAtOnce = tokensAtOnce
        self.progress = progress
    }
}

/// Runs of one input with an edit each.
struct PatchingRuns {
    let model: Transformer
    /// `[batch, pos]`
    let tokens: IntTensor
    let options: PatchingOptions
    /// The stream entering each layer in the unedited run: `[batch, pos, d_model]`.
    private let residuals: [Tensor]
    /// Logits of the unedited run.
    let baseline: Tensor

    /// Runs the input once, unedited.
    /// - Throws: `LensError` for tokens or a mask that do not fit the model.
    init(_ model: Transformer, _ tokens: IntTensor, _ options: PatchingOptions) throws {
        self.model = model
        self.tokens = tokens
        self.options = options
        var run = Transformer.Options(cache: .names(model.config.nLayers > 0 ? ["blocks.*.hook_resid_pre"] : []))
        run.attentionMask = options.attentionMask
        run.onlyLastLogits = options.onlyLastLogits
        let output = try model.run(.tokens(tokens), run)
        guard let logits = output.logits else { throw LensError(.usage, "the model gave no logits") }
        baseline = logits
        residuals = try (0..<model.config.nLayers).map { try output.cache[HookSite.residPre.name(layer: $0)] }
    }

    /// Rows of the input.
    var batch: Int { tokens.shape[0] }

    /// Runs every cell and hands its logits, `[batch, pos, d_vocab_out]`, to `body`.
    /// - Throws: `LensError(.name)` for an activation the model has not; what edits and `body` throw.
    func run(_ cells: [PatchingCell], _ body: (_ cell: Int, _ logits: Tensor) throws -> Void) throws {
        var done = 0
        let byLayer = Dictionary(grouping: try cells.indices.map { (cell: $0, layer: try firstLayer(cells[$0])) }, by: \.layer)
        for layer in byLayer.keys.sorted() {
            let members = (byLayer[layer] ?? []).map(\.cell)
            for start in stride(from: 0, to: members.count, by: cellsAtOnce) {
                let chunk = Array(members[start..<min(members.count, start + cellsAtOnce)])
                let logits = try run(chunk.map { cells[$0] }, from: layer)
                for (place, cell) in chunk.enumerated() {
                    try body(cell, logits.at(.range(place * batch..<(place + 1) * batch)).contiguous())
                    done += 1
                    options.progress?(done, cells.count)
                }
            }
        }
    }

    /// So many that neither the tokens nor the logits of a batch grow large.
    private var cellsAtOnce: Int {
        let tokensEach = max(1, tokens.count), positions = options.onlyLastLogits ? batch : tokensEach
        let logits = max(1, (32 << 20) / max(1, positions * model.config.dVocabOut))
        return max(1, min(options.tokensAtOnce / tokensEach, logits))
    }

    /// The first layer that a cell changes; 0 for what comes before the layers.
    private func firstLayer(_ cell: PatchingCell) throws -> Int {
        try cell.edits.map { edit in
            let point = try model.config.hookPoint(named: edit.name)
            if let layer = point.layer { return layer }
            return [.lnFinalScale, .lnFinalNormalized, .unembedIn, .unembedOut].contains(point.site) ? max(0, model.config.nLayers - 1) : -1
        }.min() ?? 0
    }

    /// One batch of cells, from `layer` on (-1: from the tokens).
    private func run(_ cells: [PatchingCell], from layer: Int) throws -> Tensor {
        var edits: [String: [(rows: Range<Int>, edit: PatchingCell.Edit)]] = [:]
        var names: [String] = []
        for (place, cell) in cells.enumerated() {
            for (name, edit) in cell.edits {
                if edits[name] == nil { names.append(name) }
                edits[name, default: []].append((place * batch..<(place + 1) * batch, edit))
            }
        }
        var run = Transformer.Options(hooks: names.map { name in
            .edit(.names([name])) { tensor, _ in for (rows, edit) in edits[name] ?? [] { try edit(&tensor, rows) } }
        })
        run.attentionMask = try options.attentionMask.map { try repeated($0, cells.count) }
        run.onlyLastLogits = options.onlyLastLogits
        let all = try repeated(tokens, cells.count)
        var input = Transformer.Input.tokens(all)
        if layer >= 0, residuals.indices.contains(layer) {
            let stream = residuals[layer]
            input = .residual(try stream.reshaped([1] + stream.shape).broadcast(to: [cells.count] + stream.shape)
                                .reshaped([cells.count * batch] + stream.shape.dropFirst()), tokens: all)
            run.startAtLayer = layer
        }
        guard let logits = try model.run(input, run).logits else { throw LensError(.usage, "the model gave no logits") }
        return logits
    }

    private func repeated(_ rows: IntTensor, _ count: Int) throws -> IntTensor {
        try IntTensor(Array(repeatElement(rows.array, count: count).joined()), shape: [count * rows.shape[0]] + rows.shape.dropFirst())
    }
}

extension ModelConfig {
    /// The point of a full name.
    /// - Throws: `LensError(.name)` if the model has none, naming the nearest.
    func hookPoint(named name: String) throws -> HookPoint {
        let found = try ActivationFilter.names([name]).resolve(in: hookPoints)
        guard found.count == 1, let point = found.first else { throw LensError(.name, "not one activation", at: name, expected: "a full hook name") }
        return point
    }
}
