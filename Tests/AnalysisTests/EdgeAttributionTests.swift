// EAP and EAP-IG against a literal implementation, one edge at a time, and against derivatives by differences; scores of a node's edges sum
// to the node's; grouped heads, parallel blocks, norms after attention; padding; what is refused.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct EdgeAttributionTests {
    static let models = ["gpt2-tiny", "llama-grouped", "gpt-neox", "gemma2", "native-attn-only", "native-parallel"]

    /// What a node writes to the stream, from weights and activations: `[batch, pos, d_model]`. Heads before any norm of their sum.
    static func written(_ node: EdgeSource, _ test: AttributionCase, _ tokens: IntTensor) throws -> Tensor {
        switch node {
        case .input: return try test.run(tokens, cache: "blocks.0.hook_resid_pre").cache["resid_pre", 0]
        case .mlp(let layer): return try test.run(tokens, cache: .names(["blocks.\(layer).hook_mlp_out"])).cache["mlp_out", layer]
        case .head(let layer, let head):
            let cache = try test.run(tokens, cache: .names(["blocks.\(layer).attn.hook_z", "blocks.\(layer).hook_attn_out"])).cache
            let z = try cache["z", layer].at(.all, .all, .at(head)).contiguous()
            let result = try z.matmul(test.model.parameters["blocks.\(layer).attn.W_O"].at(.at(head)).contiguous())
            guard test.model.config.outputNorm != nil else { return result }
            // Gemma 2: divided by the run's scale of the norm after attention, times its weight.
            let scale = try test.run(tokens, cache: .names(["blocks.\(layer).ln1_post.hook_scale"])).cache["blocks.\(layer).ln1_post.hook_scale"]
            return try result / scale * test.model.parameters["blocks.\(layer).ln1_post.w"]
        }
    }

    /// The gradient at a reader: `[batch, pos, d_model]`.
    private func gradient(_ target: EdgeTarget, _ graph: EdgeGraph, _ gradients: ActivationCache) throws -> Tensor {
        switch target {
        case .head(let layer, let head, let input): try gradients["blocks.\(layer).hook_\(input.rawValue)_input"].at(.all, .all, .at(head)).contiguous()
        case .mlp(let layer): try gradients["blocks.\(layer).hook_mlp_in"]
        case .logits: try gradients["resid_post", graph.nLayers - 1]
        }
    }

    private func readers(_ graph: EdgeGraph) -> [String] {
        (0..<graph.nLayers).flatMap { layer in
            ["q", "k", "v"].map { "blocks.\(layer).hook_\($0)_input" } + (graph.hasMLPs ? ["blocks.\(layer).hook_mlp_in"] : [])
        } + ["blocks.\(graph.nLayers - 1).hook_resid_post"]
    }

    private func dot(_ a: Tensor, _ b: Tensor, row: Int) throws -> Double {
        try zip(a.at(.at(row)).array, b.at(.at(row)).array).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }

    @Test(arguments: models) func equalsTheLiteralOne(_ name: String) throws {
        let test = try AttributionCase(name), graph = try EdgeGraph(test.model), names = readers(graph)
        var changes: [EdgeSource: Tensor] = [:]
        for node in graph.sources { changes[node] = try Self.written(node, test, test.pair.clean) - Self.written(node, test, test.pair.corrupted) }
        let start = try Self.written(.input, test, test.pair.corrupted), end = try Self.written(.input, test, test.pair.clean)
        let runs: [(GradientPoint, [ActivationCache])] = [
            (.clean, [try test.gradients(test.pair.clean, names)]), (.corrupted, [try test.gradients(test.pair.corrupted, names)]),
            (.integrated(steps: 3), try (1...3).map { k in
                let mixture = try start + (end - start).scaled(by: Float(k) / 3)
                return try test.gradients(test.pair.clean, names, hooks: [.edit("blocks.0.hook_resid_pre") { stream, _ in stream = mixture }])
            }),
        ]
        for (point, gradients) in runs {
            let found = try Patching.edgeAttribution(test.model, test.pair, metric: test.metric, gradientAt: point)
            var literal: [Double] = [], each: [[Double]] = [[], []]
            for target in graph.targets {
                let mean = try gradients.map { try gradient(target, graph, $0) }
                for source in graph.sources.prefix(graph.readable(by: target)) {
                    let change = try #require(changes[source])
                    let rows = try (0..<2).map { row in try mean.reduce(0.0) { try $0 + dot(change, $1, row: row) } / Double(mean.count) }
                    for row in 0..<2 { each[row].append(rows[row]) }
                    literal.append((rows[0] + rows[1]) / 2)
                }
            }
            #expect(found.edges.count == graph.edgeCount)
            expectNear(found.edges.map(\.score), literal, 1e-4, "\(name) \(point.name)")
            // Each example's own; NaN where there is no edge.
            let per = try #require(found.perExample), width = graph.sourceCount
            for row in 0..<2 {
                let own = try per.at(.at(row)).array.filter { !$0.isNaN }.map(Double.init)
                expectNear(own, each[row], 1e-4, "\(name) \(point.name) row \(row)")
            }
            for (place, target) in graph.targets.enumerated() {
                for source in 0..<width { #expect(found.scores.array[place * width + source].isNaN == (source >= graph.readable(by: target))) }
            }
        }
    }

    /// Readers' inputs moved along what writers wrote: the metric's slope, with no gradient in it.
    @Test(arguments: models) func areDerivatives(_ name: String) throws {
        let test = try AttributionCase(name), graph = try EdgeGraph(test.model)
        let found = try Patching.edgeAttribution(test.model, test.pair, metric: test.metric, gradientAt: .clean)
        var scores: [Double] = [], slopes: [Double] = []
        for (place, (edge, score)) in found.edges.enumerated() where place % 11 == 3 {
            let change = try Self.written(edge.source, test, test.pair.clean) - Self.written(edge.source, test, test.pair.corrupted)
            let (at, region): (String, [TensorIndex]) = switch edge.target {
            case .head(let layer, let head, let input): ("blocks.\(layer).hook_\(input.rawValue)_input", [.all, .all, .at(head)])
            case .mlp(let layer): ("blocks.\(layer).hook_mlp_in", [.all])
            case .logits: ("blocks.\(graph.nLayers - 1).hook_resid_post", [.all])
            }
            slopes.append(Statistics.mean(try test.slope(test.pair.clean, at: at, region, along: change)))
            scores.append(score)
        }
        #expect(scores.count >= 5)
        expectNear(scores, slopes, 5e-3, name)
    }

    /// One edge at a time really ablated, by a little: what comes along it is moved a step towards the corrupted run and a step away.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gpt-neox", "gemma2"]) func areWhatSmallAblationsDo(_ name: String) throws {
        let test = try AttributionCase(name, rows: 1), graph = try EdgeGraph(test.model), step: Float = 0.02
        let found = try Patching.edgeAttribution(test.model, test.pair, metric: test.metric, gradientAt: .clean)
        let clean = try MeanContributions(test.model, over: test.pair.clean, perPosition: true).values
        let change = try clean - MeanContributions(test.model, over: test.pair.corrupted, perPosition: true).values
        let runs = try [step, -step].map { size in
            let moved = try MeanContributions(graph: graph, values: clean - change.scaled(by: size))
            return try CircuitRuns(test.model, test.pair, metric: test.metric, ablation: .mean(moved))
        }
        let all = Circuit.whole(graph).edges
        var scores: [Double] = [], effects: [Double] = []
        for (place, (edge, score)) in found.edges.enumerated() where place % 11 == 5 {
            let circuit = try Circuit(graph: graph, edges: all.filter { $0 != edge })
            let values = try runs.map { Double(try $0.metric(circuit).array[0]) }
            effects.append((values[1] - values[0]) / Double(2 * step))
            scores.append(score)
        }
        #expect(scores.count >= 5)
        expectNear(effects, scores, 5e-3, name)
    }

    /// The edges out of a node together are the node; those into a reader are what it reads.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gpt-neox", "native-attn-only", "native-parallel"]) func edgesSumToNodes(_ name: String) throws {
        let test = try AttributionCase(name), graph = try EdgeGraph(test.model)
        for point in [GradientPoint.clean, .corrupted] {
            let edges = try Patching.edgeAttribution(test.model, test.pair, metric: test.metric, gradientAt: point)
            let nodes = try Patching.attributionPatch(test.model, test.pair, metric: test.metric, activations: ["result", "resid_pre"] + (graph.hasMLPs ? ["mlp_out"] : []),
                                                      gradientAt: point).map { try $0.summed(over: "pos").mean.array.map(Double.init) }
            let bySource = Dictionary(grouping: edges.edges, by: \.edge.source).mapValues { $0.reduce(0) { $0 + $1.score } }
            let expected = graph.sources.map { node -> Double in
                switch node {
                case .input: nodes[1][0]
                case .head(let layer, let head): nodes[0][layer * graph.nHeads + head]
                case .mlp(let layer): nodes[2][layer]
                }
            }
            expectNear(graph.sources.map { bySource[$0] ?? .nan }, expected, 1e-4, "\(name) \(point.name) out")
            // At the logits all writers sum to the last stream.
            let whole = try Patching.attributionPatch(test.model, test.pair, metric: test.metric, activations: ["resid_post"], gradientAt: point)[0].summed(over: "pos").mean.array
            let into = edges.edges.filter { $0.edge.target == .logits }.reduce(0) { $0 + $1.score }
            #expect(abs(into - Double(whole[graph.nLayers - 1])) < 1e-4 * max(1, abs(into)), "\(name) into the logits")
        }
    }

    @Test func paddingBatchesAndRepetition() throws {
        for name in ["gpt2-tiny", "llama-grouped"] {
            let test = try AttributionCase(name, mask: [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
            let found = try Patching.edgeAttribution(test.model, test.pair, metric: test.metric, gradientAt: .integrated(steps: 2))
            let again = try Patching.edgeAttribution(test.model, test.pair, metric: test.metric, gradientAt: .integrated(steps: 2))
            #expect(found.scores.array.map(\.bitPattern) == again.scores.array.map(\.bitPattern))
            let short = try PromptPair(clean: IntTensor(rows: [[44, 2, 9]]), corrupted: IntTensor(rows: [[44, 70, 3]]))
            let alone = try Patching.edgeAttribution(test.model, short, metric: .logitDifference(answers: [31], wrong: [4]), gradientAt: .integrated(steps: 2))
            let row = try #require(found.perExample).at(.at(1)).array.filter { !$0.isNaN }.map(Double.init)
            expectNear(row, alone.edges.map(\.score), 1e-4, "\(name) alone")
        }
    }

    @Test func refusals() throws {
        for name in ["bert-untied", "openai-gpt"] {
            let model = try ModelFolder(path: "\(TestFolders.goldens)/\(name)").load()
            expectError(.usage, "is no sum of its parts") { try EdgeGraph(model) }
        }
        let empty = try Transformer.random(ModelConfig(nLayers: 0, dModel: 12, nCtx: 8, dHead: 6, actFn: .gelu, dVocab: 11), seed: 1)
        expectError(.usage, "a model without layers") { try EdgeGraph(empty) }
    }

    /// Names, numbers of edges and which way they go.
    @Test func graphs() throws {
        let grouped = try EdgeGraph(AttributionCase("llama-grouped").model)
        #expect(grouped.kvHeads < grouped.nHeads && grouped.name(.head(layer: 1, head: 0, input: .k)) == "a1.g0<k>" && grouped.name(.head(layer: 1, head: 2, input: .q)) == "a1.h2<q>")
        for name in Self.models {
            let graph = try EdgeGraph(AttributionCase(name).model)
            #expect(Set(graph.targets.map(graph.name)).count == graph.targets.count && Set(graph.sources.map(\.name)).count == graph.sources.count)
            #expect(graph.sources.count == graph.sourceCount && graph.sources.enumerated().allSatisfy { graph.index(of: $1) == $0 })
            // Everything a writer reads, it is behind; and nothing reads what comes after it.
            for source in graph.sources {
                for target in graph.targets(of: source) {
                    #expect(graph.sources(behind: target).contains(source) && graph.readable(by: target) <= graph.index(of: source))
                }
            }
            let perLayer = graph.nHeads + 2 * graph.kvHeads, nodes = graph.nHeads + (graph.hasMLPs ? 1 : 0)
            let count = (0..<graph.nLayers).reduce(1 + graph.nLayers * nodes) { sum, layer in
                let before = 1 + layer * nodes
                return sum + perLayer * before + (graph.hasMLPs ? before + (graph.isParallel ? 0 : graph.nHeads) : 0)
            }
            #expect(graph.edgeCount == count)
        }
    }
}
