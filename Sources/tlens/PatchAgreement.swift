// What `tlens patch --agreement` prints: how well attribution patching ranks what true patching ranks, for each kind of
// component, with gradients at each of the two runs and averaged over the way between them.

import TransformerLens

struct PatchAgreement {
    private let experiment: PatchExperiment
    private let reports: [AgreementReport]

    /// All kinds of components by position, heads' patterns by destination.
    private static let patches: [NamedPatch] = [.residPre, .residMid, .attnOut, .mlpOut, .attnHeadOutByPos, .attnHeadQByPos, .attnHeadKByPos,
                                                .attnHeadVByPos, .attnHeadPatternByPos]

    /// - Parameter steps: gradients that the integrated ones are a mean of.
    init(_ experiment: PatchExperiment, _ model: Transformer, steps: Int, _ meter: ProgressMeter) throws {
        self.experiment = experiment
        let known = Set(model.config.hookPoints.map(\.name))
        let patches = Self.patches.filter { known.contains(actName($0.activationName, layer: 0)) }
        let pair = try PromptPair(clean: experiment.clean, corrupted: experiment.corrupted, attentionMask: experiment.mask)
        var run = PatchingOptions(onlyLastLogits: true)
        run.tokensAtOnce = max(512, experiment.clean.count)
        let points: [GradientPoint] = [.clean, .corrupted, .integrated(steps: steps, rule: .midpoint)]
        reports = try points.enumerated().map { index, point in
            defer { meter.advance(to: index + 1, of: points.count) }
            return try Patching.attributionAgreement(model, pair, metric: experiment.gradientMetric, gradientAt: point, patches: patches, options: run)
        }
    }

    func text(_ terminal: Terminal) -> String {
        var table = TextTable(["component", "#cells"] + reports.flatMap { ["#\($0.gradientAt.title)", "#top"] })
        for (index, part) in (reports.first?.agreements ?? []).enumerated() {
            table.add([part.patch.rawValue, "\(part.effect.count)"] + reports.flatMap { report in
                // Of numbers that are all the same there is no ranking.
                [(report.agreements[index].spearman, 3), (report.agreements[index].topOverlap, 2)].map { $0.isNaN ? "·" : fixed($0, $1) }
            })
        }
        let pairs = experiment.clean.shape[0]
        return """
            attribution patching beside patching, \(pairs) pair\(pairs == 1 ? "" : "s") of prompts: Spearman's rank correlation over cells
            (top: of the tenth of the cells that do most, the share that the estimate puts there too)

            \(table.text(on: terminal))

            metric: \(experiment.metricName)
            """
    }

    func json() throws -> JSON {
        ["metric": .string(experiment.metricName), "pairs": .int(experiment.clean.shape[0]), "reports": .array(try reports.map { try $0.json { "\($0)" } })]
    }

    func write(_ file: OutFileOption) throws {
        try file.write(reports.flatMap { report in
            report.tensors.map { LabelledTensor(name: "\(report.gradientAt.title).\($0.name)", tensor: $0.tensor, labels: $0.labels) }
        })
    }
}

extension GradientPoint {
    /// A word for it.
    fileprivate var title: String {
        switch self {
        case .clean: "clean"
        case .corrupted: "corrupted"
        case .integrated: "integrated"
        }
    }
}
