// `tlens circuit`: the edges of the model that a behaviour goes along, found by attribution and tried by ablating all the others.

import ArgumentParser
import TransformerLens

struct CircuitCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "circuit",
        abstract: "Find the circuit behind an answer: score every edge by attribution, keep the best, ablate the rest and measure.",
        usage: "tlens circuit <model> --prompt <text> --corrupt <text> --answer <token> [--wrong <token>] [--method eap|eap-ig|attribution] [--size <n>]",
        discussion: """
            The metric is the answer's logit less the wrong answer's at the last position (without --wrong: the answer's \
            log-probability). Several prompt pairs are a batch: the n-th --prompt goes with the n-th --corrupt, --answer and \
            --wrong.

            METHOD: eap-ig (edges, gradients averaged over --steps inputs between the two prompts; default), eap (edges, the \
            gradient at the --gradient-at run), attribution (heads and MLPs; the circuit is then all edges between the best).
            Without --size, sizes of 1 % to 50 % are tried, and the smallest shown whose faithfulness reaches --faithfulness.
            Faithfulness: 1 does what the whole model does, 0 what is left with every edge ablated. Completeness: the same of \
            all that the circuit leaves out. Edges: a3.h1 is a head, m3 an MLP, a5.h0<q> a head's queries, a5.g0<k> a \
            group's keys.
            """)

    @OptionGroup var options: ModelOptions

    @Option(name: .customLong("prompt"), parsing: .unconditionalSingleValue, help: ArgumentHelp("A clean prompt. Repeatable.", valueName: "text"))
    var prompts: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("A corrupted prompt, of as many tokens. Repeatable.", valueName: "text"))
    var corrupt: [String] = []

    @Option(help: ArgumentHelp("A clean prompt as tokens, 1,2,3. Repeatable.", valueName: "ids"))
    var tokens: [String] = []

    @Option(help: ArgumentHelp("A corrupted prompt as tokens. Repeatable.", valueName: "ids"))
    var corruptTokens: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("The clean prompt's answer: a text of one token, or #id. Repeatable.", valueName: "token"))
    var answer: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("The wrong answer. Repeatable.", valueName: "token"))
    var wrong: [String] = []

    @Option(help: ArgumentHelp("How edges are scored: eap-ig, eap or attribution.", valueName: "method"))
    var method = CircuitMethod.eapIG

    @Option(help: ArgumentHelp("Runs that eap-ig averages gradients over.", valueName: "n"))
    var steps = 5

    @Option(help: ArgumentHelp("Where eap and attribution take the gradient: clean or corrupted.", valueName: "run"))
    var gradientAt = "clean"

    @Option(help: ArgumentHelp("Edges in the circuit (with attribution: heads and MLPs). Repeatable: the last is shown.", valueName: "n"))
    var size: [Int] = []

    @Option(help: ArgumentHelp("The faithfulness that is enough where no size is given.", valueName: "share"))
    var faithfulness = 0.9

    @Option(help: ArgumentHelp("How edges are chosen: greedy (from the logits backwards) or top.", valueName: "how"))
    var select = CircuitSelection.greedy

    @Option(help: ArgumentHelp("What the other edges carry: patch (as in the corrupted run), mean (over the prompts, or --mean-file) or zero.", valueName: "what"))
    var ablate = AblationName.patch

    @Option(help: ArgumentHelp("Prompts, one a line, that means are over.", valueName: "file"))
    var meanFile: String?

    @Flag(help: "Take each node from the circuit, and see what that changes: one run for each.")
    var minimality = false

    @Option(help: ArgumentHelp("Write the circuit as a Graphviz graph.", valueName: "file"))
    var dot: String?

    @Option(help: ArgumentHelp("Edges to list.", valueName: "n"))
    var top = 20

    @OptionGroup var bos: BOSOptions
    @OptionGroup var file: OutFileOption
    @OptionGroup var output: OutputOptions

    /// How edges are scored.
    enum CircuitMethod: String, ExpressibleByArgument, CaseIterable { case eapIG = "eap-ig", eap, attribution }
    /// What ablated edges carry.
    enum AblationName: String, ExpressibleByArgument, CaseIterable { case patch, mean, zero }

    func validate() throws {
        guard prompts.isEmpty != tokens.isEmpty, corrupt.isEmpty != corruptTokens.isEmpty else {
            throw ValidationError("give --prompt or --tokens, and --corrupt or --corrupt-tokens")
        }
        let pairs = prompts.count + tokens.count
        guard corrupt.count + corruptTokens.count == pairs else {
            throw ValidationError("\(pairs) prompts but \(corrupt.count + corruptTokens.count) corrupted ones")
        }
        guard answer.count == pairs, wrong.isEmpty || wrong.count == pairs else {
            throw ValidationError("give an --answer for each of \(pairs) prompts, and as many --wrong or none")
        }
        guard ["clean", "corrupted"].contains(gradientAt) else { throw ValidationError("--gradient-at takes clean or corrupted, not '\(gradientAt)'") }
        guard (1...1000).contains(steps) else { throw ValidationError("--steps takes a number from 1 to 1000, not \(steps)") }
        if let wrong = size.first(where: { $0 < 0 }) { throw ValidationError("--size takes a number from 0, not \(wrong)") }
        guard top >= 0 else { throw ValidationError("--top takes a number from 0, not \(top)") }
        guard meanFile == nil || ablate == .mean else { throw ValidationError("--mean-file goes with --ablate mean") }
        for list in tokens + corruptTokens { _ = try tokenList(list) }
    }

    func run() throws {
        let model = try options.load(output)
        let experiment = try PatchExperiment(clean: (prompts, tokens), corrupted: (corrupt, corruptTokens), answers: answer, wrong: wrong, bos: bos, model)
        let pair = try PromptPair(clean: experiment.clean, corrupted: experiment.corrupted, attentionMask: experiment.mask)
        let search = try CircuitSearch(self, model, pair, experiment.gradientMetric)
        let report = try CircuitText(self, search, metricName: experiment.metricName, prompts: experiment.clean.shape[0])
        try file.write(report.tensors)
        if let dot {
            let writer = try AtomicFileWriter(path: dot)
            try writer.write(Array(search.shown.circuit.graphviz(scores: search.scores).utf8))
            try writer.commit()
        }
        try output.json ? printJSON(report.json()) : say(report.text(.stdout))
    }
}

extension CircuitSelection: ExpressibleByArgument {}

/// Scores, circuits of the sizes asked for, and what they do alone.
struct CircuitSearch {
    let graph: EdgeGraph
    /// Of edges; nil where nodes were scored.
    let scores: EdgeAttribution?
    /// Of heads and MLPs, most important first; nil where edges were scored.
    let nodes: [(node: EdgeSource, score: Double)]?
    let gradientAt: GradientPoint
    let curve: FaithfulnessCurve
    /// The report that is shown, and its place in the curve.
    let shown: CircuitReport
    let minimality: [(node: EdgeSource, change: Double)]?
    /// The metric of the two runs, means.
    let clean: Double, corrupted: Double

    init(_ command: CircuitCommand, _ model: HookedTransformer, _ pair: PromptPair, _ metric: GradientMetric) throws {
        let transformer = model.model, graph = try EdgeGraph(transformer)
        self.graph = graph
        let end: GradientPoint = command.gradientAt == "clean" ? .clean : .corrupted
        gradientAt = command.method == .eapIG ? .integrated(steps: command.steps) : end
        let meter = ProgressMeter("scoring", command.output)
        let options = AttributionOptions(progress: meter.advance)
        let all: Int
        let choose: (Int) throws -> Circuit
        if command.method == .attribution {
            let found = try Self.nodeScores(transformer, graph, pair, metric, gradientAt, options)
            (scores, nodes, all) = (nil, found, found.count)
            choose = { try Circuit.between(found.prefix($0).map(\.node), in: graph).pruned() }
        } else {
            let found = try Patching.edgeAttribution(transformer, pair, metric: metric, gradientAt: gradientAt, options: options)
            (scores, nodes, all) = (found, nil, graph.edgeCount)
            choose = { try found.circuit(size: $0, by: command.select) }
        }
        meter.finish()
        let ablation: EdgeAblation = switch command.ablate {
        case .patch: .patch
        case .zero: .zero
        case .mean: .mean(try Self.means(command, model, pair))
        }
        let runs = try CircuitRuns(transformer, pair, metric: metric, ablation: ablation)
        (clean, corrupted) = (Statistics.mean(runs.clean.array.map(Double.init)), Statistics.mean(runs.corrupted.array.map(Double.init)))
        let shares = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].map { max(1, Int((Double(all) * $0).rounded())) }
        let sizes = (command.size.isEmpty ? shares : command.size).reduce(into: [Int]()) { if !$0.contains(min($1, all)) { $0.append(min($1, all)) } }
        let measuring = ProgressMeter("measuring circuits", command.output)
        let curve = try runs.curve(sizes.map(choose), sizes: sizes, progress: measuring.advance)
        self.curve = curve
        let enough = command.size.isEmpty ? curve.reports.first { $0.faithfulness >= command.faithfulness } : nil
        guard let shown = enough ?? curve.reports.last else { throw LensError(.usage, "no circuit", expected: "a size") }
        self.shown = shown
        minimality = command.minimality ? try runs.minimality(shown.circuit, progress: measuring.advance) : nil
        measuring.finish()
    }

    /// Heads and MLPs by what they write, over all positions.
    private static func nodeScores(_ model: Transformer, _ graph: EdgeGraph, _ pair: PromptPair, _ metric: GradientMetric, _ point: GradientPoint,
                                   _ options: AttributionOptions) throws -> [(node: EdgeSource, score: Double)] {
        let found = try Patching.attributionPatch(model, pair, metric: metric, activations: ["z"] + (graph.hasMLPs ? ["mlp_out"] : []), gradientAt: point, options: options)
        let sums = try found.map { try $0.summed(over: "pos").mean.array.map(Double.init) }
        let nodes = graph.sources.compactMap { node -> (node: EdgeSource, score: Double)? in
            switch node {
            case .input: nil
            case .head(let layer, let head): (node, sums[0][layer * graph.nHeads + head])
            case .mlp(let layer): (node, sums[1][layer])
            }
        }
        return nodes.indices.sorted { (abs(nodes[$0].score), $1) > (abs(nodes[$1].score), $0) }.map { nodes[$0] }
    }

    private static func means(_ command: CircuitCommand, _ model: HookedTransformer, _ pair: PromptPair) throws -> MeanContributions {
        guard let path = command.meanFile else {
            let both = try IntTensor(rows: pair.clean.rows + pair.corrupted.rows), mask = try pair.attentionMask.map { try IntTensor(rows: $0.rows + $0.rows) }
            return try MeanContributions(model.model, over: both, attentionMask: mask)
        }
        let rows = try InputOptions.lines(of: path).map { try model.toTokens($0, prependBOS: command.bos.choice, truncate: false).array }
        let longest = rows.map(\.count).max() ?? 0
        return try MeanContributions(model.model, over: IntTensor(rows: rows.map { Array(repeating: 0, count: longest - $0.count) + $0 }),
                                     attentionMask: IntTensor(rows: rows.map { Array(repeating: 0, count: longest - $0.count) + $0.map { _ in 1 } }))
    }
}
