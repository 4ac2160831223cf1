// Circuits: runs with ablated edges equal a model put together node by node, all edges ablated is the corrupted run and none the clean one;
// how circuits are chosen and pruned; faithfulness; JSON and Graphviz.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct CircuitRunTests {
    static let models = ["gpt2-tiny", "llama-grouped", "gpt-neox", "gemma2", "olmo2", "granite", "native-attn-only", "native-parallel", "bloom"]

    /// Law: nothing ablated is the model bit for bit; everything patched is the corrupted run.
    @Test(arguments: models) func ends(_ name: String) throws {
        for mask in [nil, [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]] {
            let test = try AttributionCase(name, mask: mask), graph = try EdgeGraph(test.model)
            let runs = try CircuitRuns(test.model, test.pair, metric: test.metric, ablation: .patch)
            let clean = try test.run(test.pair.clean), corrupted = try test.run(test.pair.corrupted)
            expectSameBits(try runs.logits(.whole(graph)), clean.logits, "\(name) whole")
            let last = try runs.logits(.empty(graph)).at(.all, .from(2)).contiguous()
            expectClose(last, try corrupted.logits.at(.all, .from(2)).contiguous(), "\(name) empty", tolerance: 1e-4)
            #expect(runs.clean.array == clean.values && runs.corrupted.array == corrupted.values)
            // Nothing to change between a prompt and itself.
            let same = try CircuitRuns(test.model, PromptPair(clean: test.pair.clean, corrupted: test.pair.clean, attentionMask: test.pair.attentionMask), metric: test.metric, ablation: .patch)
            expectSameBits(try same.logits(.empty(graph)), clean.logits, "\(name) by itself")
        }
    }

    /// A circuit run by hand: node after node, each in a run of its own that gives it the stream put together from what its writers wrote.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gpt-neox", "native-attn-only", "native-parallel"]) func equalsTheModelPutTogetherByHand(_ name: String) throws {
        let test = try AttributionCase(name), graph = try EdgeGraph(test.model), tokens = test.pair.clean
        var random = SeededRandom(7)
        let edges = Circuit.whole(graph).edges.filter { _ in random.ids(1, below: 3)[0] > 0 }
        let circuit = try Circuit(graph: graph, edges: edges), kept = Set(edges)
        var original: [EdgeSource: Tensor] = [:]
        for node in graph.sources { original[node] = try EdgeAttributionTests.written(node, test, tokens) }
        let means = try MeanContributions(test.model, over: test.pair.corrupted), whole = try test.run(tokens, cache: "all")
        for (what, ablation) in [("patch", EdgeAblation.patch), ("zero", .zero), ("mean", .mean(means))] {
            var replacement: [EdgeSource: Tensor] = [:], written: [EdgeSource: Tensor] = [:]
            for (place, node) in graph.sources.enumerated() {
                let own = try #require(original[node])
                switch ablation {
                case .patch: replacement[node] = try EdgeAttributionTests.written(node, test, test.pair.corrupted)
                case .zero: replacement[node] = Tensor(zeros: own.shape)
                case .mean: replacement[node] = try means.values.at(.at(place)).broadcast(to: own.shape).contiguous()
                }
            }
            /// The stream at a reader: what is no writer's, and each writer's share or what replaces it.
            func stream(_ target: EdgeTarget, _ site: String) throws -> Tensor {
                var sum = try whole.cache[site]
                for source in graph.sources.prefix(graph.readable(by: target)) {
                    let share = kept.contains(Edge(source, target)) ? written[source] : replacement[source]
                    sum = try sum - #require(original[source]) + #require(share)
                }
                return sum
            }
            written[.input] = original[.input]
            for node in graph.sources.dropFirst() {
                let hooks = try graph.targets(of: node).map { target -> Hook in
                    guard case .head(let layer, let head, let input) = target else {
                        let layer = node.layer ?? 0
                        let seen = graph.isParallel ? "blocks.\(layer).hook_resid_pre" : "blocks.\(layer).hook_resid_mid", given = try stream(target, seen)
                        return .edit(.names(["blocks.\(layer).hook_mlp_in"])) { x, _ in x = given }
                    }
                    let given = try stream(target, "blocks.\(layer).hook_resid_pre")
                    return .edit(.names(["blocks.\(layer).hook_\(input.rawValue)_input"])) { x, _ in try x.assign(given, at: [.all, .all, .at(head)]) }
                }
                switch node {
                case .head(let layer, let head):
                    let result = "blocks.\(layer).attn.hook_result"
                    written[node] = try test.run(tokens, cache: .names([result]), hooks: hooks).cache[result].at(.all, .all, .at(head)).contiguous()
                case .mlp(let layer): written[node] = try test.run(tokens, cache: .names(["blocks.\(layer).hook_mlp_out"]), hooks: hooks).cache["mlp_out", layer]
                case .input: break
                }
            }
            let last = "blocks.\(graph.nLayers - 1).hook_resid_post", given = try stream(.logits, last)
            let expected = try test.run(tokens, hooks: [.edit(.names([last])) { x, _ in x = given }]).logits
            let runs = try CircuitRuns(test.model, test.pair, metric: test.metric, ablation: ablation)
            expectClose(try runs.logits(circuit), expected, "\(name) \(what)", tolerance: 1e-4)
            #expect(difference(expected, whole.logits, tolerance: 1e-3).problem != nil, "\(name) \(what): nothing was ablated")
        }
    }

    /// One head cut off everywhere is that head's output replaced, in the run as it is.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "gemma2"]) func aNodeCutOffIsItsOutputReplaced(_ name: String) throws {
        let test = try AttributionCase(name), graph = try EdgeGraph(test.model)
        let other = try test.run(test.pair.corrupted, cache: ["z", "mlp_out"]).cache
        let runs = try CircuitRuns(test.model, test.pair, metric: test.metric, ablation: .patch)
        var nodes: [EdgeSource] = [.mlp(layer: 0), .mlp(layer: graph.nLayers - 1)]
        // Where a norm stands between, heads of a layer share its scale: cutting one off is no longer patching its z.
        if test.model.config.outputNorm == nil { nodes += [.head(layer: 1, head: 0), .head(layer: 0, head: 2)] }
        for node in nodes {
            let without = try Circuit(graph: graph, edges: Circuit.whole(graph).edges.filter { $0.source != node })
            let hook: Hook = switch node {
            case .mlp(let layer): .edit(.names(["blocks.\(layer).hook_mlp_out"])) { x, at in x = try other[at.name] }
            default: .edit(.names(["blocks.\(node.layer ?? 0).attn.hook_z"])) { x, at in
                guard case .head(_, let head) = node else { return }
                try x.assign(other[at.name].view([.all, .all, .at(head)]), at: [.all, .all, .at(head)])
            }
            }
            expectClose(try runs.logits(without), try test.run(test.pair.clean, hooks: [hook]).logits, "\(name) without \(node.name)", tolerance: 1e-4)
        }
    }

    // MARK: Choosing

    private func scored(_ graph: EdgeGraph, _ score: (Edge) -> Float) throws -> EdgeAttribution {
        let sources = graph.sources
        let scores = graph.targets.flatMap { target in sources.enumerated().map { $0 < graph.readable(by: target) ? score(Edge($1, target)) : .nan } }
        return EdgeAttribution(graph: graph, gradientAt: .clean, scores: try Tensor(scores, shape: [graph.targets.count, sources.count]), perExample: nil, clean: 1, corrupted: 0)
    }

    /// Greedy against one that looks through all edges each time.
    @Test(arguments: ["gpt2-tiny", "llama-grouped", "native-attn-only"]) func greedy(_ name: String) throws {
        let graph = try EdgeGraph(AttributionCase(name).model)
        var random = SeededRandom(3)
        // Few different scores, so that there are equals.
        let scores = try scored(graph) { _ in Float(random.ids(1, below: 21)[0]) - 10 }
        let all = scores.edges
        for size in [0, 1, 2, 5, 20, 60, graph.edgeCount, graph.edgeCount + 9] {
            var chosen: [Edge] = [], reached: Set<EdgeTarget> = [.logits]
            while chosen.count < size {
                let open = all.indices.filter { reached.contains(all[$0].edge.target) && !chosen.contains(all[$0].edge) }
                guard let best = open.min(by: { (-abs(all[$0].score), $0) < (-abs(all[$1].score), $1) }) else { break }
                chosen.append(all[best].edge)
                reached.formUnion(graph.targets(of: all[best].edge.source))
            }
            let found = try scores.circuit(size: size, pruning: false)
            #expect(found == (try Circuit(graph: graph, edges: chosen)), "\(name) \(size)")
            #expect(found.count == min(size, graph.edgeCount) && found.complement.count == graph.edgeCount - found.count)
            let top = try scores.circuit(size: size, by: .top, pruning: false)
            #expect(top.count == min(size, graph.edgeCount))
            let least = top.edges.compactMap { edge in all.first { $0.edge == edge }.map { abs($0.score) } }.min() ?? .infinity
            #expect(top.complement.edges.allSatisfy { edge in all.first { $0.edge == edge }.map { abs($0.score) <= least } ?? false })
            // What is pruned leads nowhere: every edge left is on a way from input to logits.
            for circuit in [found.pruned(), top.pruned()] { check(circuit) }
        }
        expectError(.usage, "a circuit's size") { try scores.circuit(size: -1) }
    }

    private func check(_ circuit: Circuit) {
        let graph = circuit.graph, edges = circuit.edges
        var hearing: Set<EdgeSource> = [.input], leading: Set<EdgeSource> = []
        for edge in edges where hearing.contains(edge.source) { hearing.formUnion(graph.sources(behind: edge.target)) }
        for edge in edges.reversed() {
            if edge.target == .logits || graph.sources(behind: edge.target).contains(where: leading.contains) { leading.insert(edge.source) }
        }
        for edge in edges {
            #expect(hearing.contains(edge.source) && (edge.target == .logits || graph.sources(behind: edge.target).contains(where: leading.contains)))
        }
        #expect(circuit.pruned() == circuit)
    }

    @Test func pruning() throws {
        let graph = try EdgeGraph(AttributionCase("gpt2-tiny").model)
        let head = EdgeSource.head(layer: 1, head: 2), deaf = EdgeSource.head(layer: 0, head: 1)
        let way = [Edge(.input, .head(layer: 1, head: 2, input: .v)), Edge(head, .logits)]
        let nowhere = [Edge(.input, .head(layer: 0, head: 0, input: .q)), Edge(.input, .mlp(layer: 2))], fromNothing = [Edge(deaf, .mlp(layer: 1)), Edge(.mlp(layer: 1), .logits)]
        let circuit = try Circuit(graph: graph, edges: way + nowhere + fromNothing)
        #expect(circuit.pruned().edges == [way[0], way[1]] && circuit.pruned().nodes == [.input, head])
        #expect(try Circuit(graph: graph, edges: nowhere).pruned().count == 0)
        let between = try Circuit.between([head], in: graph)
        #expect(between.nodes == [.input, head] && between.count == 5)
        #expect(circuit.removing(head).edges.allSatisfy { $0.source != head && $0.target != .head(layer: 1, head: 2, input: .v) })
        expectError(.usage, "no such edge") { try Circuit(graph: graph, edges: [Edge(head, .head(layer: 1, head: 0, input: .q))]) }
        expectError(.usage, "no such edge") { try Circuit(graph: graph, edges: [Edge(.mlp(layer: 9), .logits)]) }
    }

    /// Keys and values of a group are its heads' together.
    @Test func groups() throws {
        let graph = try EdgeGraph(AttributionCase("llama-grouped").model), group = graph.nHeads / graph.kvHeads
        try #require(group > 1)
        let both = try Circuit.between((0..<group).map { .head(layer: 0, head: $0) }, in: graph)
        let one = both.removing(.head(layer: 0, head: 0))
        #expect(one.edges.contains(Edge(.input, .head(layer: 0, head: 0, input: .k))) && !one.edges.contains(Edge(.input, .head(layer: 0, head: 0, input: .q))))
        #expect((1..<group).reduce(one) { $0.removing(.head(layer: 0, head: $1)) }.edges == [Edge(.input, .logits)])
        #expect(one.nodes == [.input] + (1..<group).map { .head(layer: 0, head: $0) })
    }

    // MARK: Measuring

    @Test(arguments: ["gpt2-tiny", "llama-grouped"]) func faithfulness(_ name: String) throws {
        let test = try AttributionCase(name), graph = try EdgeGraph(test.model)
        let scores = try Patching.edgeAttribution(test.model, test.pair, metric: test.metric, gradientAt: .integrated(steps: 5))
        let runs = try CircuitRuns(test.model, test.pair, metric: test.metric, ablation: .patch)
        let sizes = [0, graph.edgeCount / 4, graph.edgeCount], circuits = try sizes.map { try scores.circuit(size: $0) }
        var steps: [Int] = []
        let curve = try runs.curve(circuits, sizes: sizes) { done, _ in steps.append(done) }
        #expect(steps == [1, 2, 3] && curve.reports.map(\.size) == sizes.map(Optional.some))
        #expect(curve.reports[0].faithfulness == 0 && curve.reports[2].faithfulness == 1 && curve.reports[0].completeness == 1 && curve.reports[2].completeness == 0)
        #expect(curve.whole == Statistics.mean(try test.run(test.pair.clean).values.map(Double.init)))
        for report in curve.reports {
            let alone = Statistics.mean(try runs.metric(report.circuit).array.map(Double.init)), rest = Statistics.mean(try runs.metric(report.circuit.complement).array.map(Double.init))
            #expect(abs(report.faithfulness - (alone - curve.empty) / (curve.whole - curve.empty)) < 1e-12)
            #expect(abs((report.completeness ?? .nan) - (rest - curve.empty) / (curve.whole - curve.empty)) < 1e-12)
        }
        #expect(try curve.json()["circuits"]?.arrayValue?.count == 3 && curve.area.isFinite)
        let minimality = try runs.minimality(circuits[1])
        #expect(minimality.map(\.node) == circuits[1].nodes.filter { $0 != .input })
        for (node, change) in minimality.prefix(2) {
            let without = Statistics.mean(try runs.metric(circuits[1].removing(node)).array.map(Double.init)), with = Statistics.mean(try runs.metric(circuits[1]).array.map(Double.init))
            #expect(abs(change - (with - without) / (curve.whole - curve.empty)) < 1e-12)
        }
        let same = try CircuitRuns(test.model, PromptPair(clean: test.pair.clean, corrupted: test.pair.clean), metric: test.metric, ablation: .patch)
        expectError(.usage, "nothing to measure a circuit by") { try same.bounds() }
        let other = try EdgeGraph(AttributionCase("gpt-neox").model)
        if other != graph { expectError(.usage, "a circuit of another model") { try runs.logits(.whole(other)) } }
    }

    /// Means by hand, with padding, and positions of their own.
    @Test func means() throws {
        let test = try AttributionCase("gpt2-tiny"), graph = try EdgeGraph(test.model), mask = try IntTensor(rows: [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
        let masked = try AttributionCase("gpt2-tiny", mask: mask.rows)
        let means = try MeanContributions(test.model, over: test.pair.clean, attentionMask: mask)
        let places = try MeanContributions(test.model, over: test.pair.clean, attentionMask: mask, perPosition: true)
        #expect(means.values.shape == [graph.sourceCount, 1, 42] && places.values.shape == [graph.sourceCount, 5, 42])
        let node = EdgeSource.head(layer: 1, head: 2), written = try EdgeAttributionTests.written(node, masked, test.pair.clean)
        func at(_ row: Int, _ position: Int) throws -> Tensor { try written.at(.at(row), .at(position)) }
        var sum = Tensor(zeros: [42])
        for (row, position) in [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)] { sum = try sum + at(row, position) }
        expectClose(try means.values.at(.at(graph.index(of: node)), .at(0)).contiguous(), try sum.scaled(by: 1 / 8), "mean", tolerance: 1e-5)
        expectClose(try places.values.at(.at(graph.index(of: node)), .at(1)).contiguous(), try at(0, 1).contiguous(), "one row's", tolerance: 1e-5)
        expectClose(try places.values.at(.at(graph.index(of: node)), .at(3)).contiguous(), try (at(0, 3) + at(1, 3)).scaled(by: 0.5), "two rows'", tolerance: 1e-5)
        let short = try PromptPair(clean: IntTensor(rows: [[1, 2]]), corrupted: IntTensor(rows: [[3, 2]]))
        expectError(.shape, "means that do not fit") { try CircuitRuns(test.model, short, metric: .logit(answers: [1]), ablation: .mean(places)) }
        expectError(.usage, "nothing to average over") { try MeanContributions(test.model, over: IntTensor(rows: [[1]]), attentionMask: IntTensor(rows: [[0]])) }
    }

    // MARK: Writing

    @Test(arguments: ["gpt2-tiny", "llama-grouped"]) func writing(_ name: String) throws {
        let test = try AttributionCase(name), graph = try EdgeGraph(test.model)
        let scores = try Patching.edgeAttribution(test.model, test.pair, metric: test.metric, gradientAt: .clean), circuit = try scores.circuit(size: 25)
        let json = circuit.json(scores: scores)
        #expect(try Circuit(json: JSON.parse(json.text()), graph: graph) == circuit)
        let listed = json["edges"]?.arrayValue ?? []
        #expect(listed.count == circuit.count && listed.allSatisfy { $0["score"]?.doubleValue?.isFinite == true })
        expectError(.format, "not an edge of this model") { try Circuit(json: ["edges": [["from": "a9.h9", "to": "logits"]]], graph: graph) }
        expectError(.format) { try Circuit(json: [1], graph: graph) }
        let dot = circuit.graphviz(scores: scores) { $0 == .input ? "the \"input\"\nhere" : nil }
        #expect(dot.hasPrefix("digraph circuit {\n") && dot.hasSuffix("}\n") && dot.contains("the \\\"input\\\" here") && dot.contains("-> \"logits\" [penwidth="))
        // A line for each edge, of keys and values of a group for each head that writes.
        let arrows = circuit.edges.reduce(0) { count, edge in
            count + (edge.target == .logits ? 1 : graph.sources(behind: edge.target).filter(circuit.nodes.contains).count)
        }
        #expect(dot.split(separator: "\n").count { $0.contains(" -> ") } == arrows)
        #expect(Circuit.empty(graph).graphviz() == "digraph circuit {\n  rankdir=BT;\n  node [fontname=\"Helvetica\", style=filled, fillcolor=white];\n  edge [fontname=\"Helvetica\", arrowsize=0.6];\n}\n")
    }
}
