// TransformerLens' own tests of its analyses as behaviours, as far as no other file here has them: the same inputs, outcomes and
// refusals, on models small enough to run at once.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct PortedTests {
    private func random(_ shape: [Int], seed: UInt64) throws -> Tensor {
        var random = SplitMix64(state: seed)
        return try Tensor((0..<shape.reduce(1, *)).map { _ in Float.random(in: -1...1, using: &random) }, shape: shape)
    }

    private func factored(_ leading: [Int], _ l: Int, _ m: Int, _ r: Int, seed: UInt64 = 1) throws -> FactoredMatrix {
        try FactoredMatrix(random(leading + [l, m], seed: seed), random(leading + [m, r], seed: seed + 1))
    }

    /// `a·b` over the last two axes, leading axes broadcast, term by term.
    private func product(_ a: Tensor, _ b: Tensor) throws -> Tensor {
        let leading = try Layout.broadcastShape(Array(a.shape.dropLast(2)), Array(b.shape.dropLast(2)))
        let l = a.shape[a.rank - 2], m = a.shape[a.rank - 1], r = b.shape[b.rank - 1], count = leading.reduce(1, *)
        let left = try a.broadcast(to: leading + [l, m]).contiguous().array, right = try b.broadcast(to: leading + [m, r]).contiguous().array
        var sums = [Float](repeating: 0, count: count * l * r)
        for matrix in 0..<count {
            for row in 0..<l {
                for column in 0..<r {
                    sums[(matrix * l + row) * r + column] = Float((0..<m).reduce(0.0) {
                        $0 + Double(left[(matrix * l + row) * m + $1]) * Double(right[(matrix * m + $1) * r + column])
                    })
                }
            }
        }
        return try Tensor(sums, shape: leading + [l, r])
    }

    // MARK: test_multiply_by_*, test_get_item, test_properties

    @Test(arguments: [([], []), ([2], []), ([], [2]), ([3, 2], [3, 2]), ([2], [3, 1])] as [([Int], [Int])])
    func leadingAxesOfProducts(_ left: [Int], _ right: [Int]) throws {
        let a = try factored(left, 4, 2, 5), b = try factored(right, 5, 3, 6, seed: 3), tensor = try random(right + [5, 3], seed: 7)
        expectClose(try a.matmul(b).AB, try product(a.AB, b.AB), "factored")
        expectClose(try a.matmul(tensor).AB, try product(a.AB, tensor), "a matrix on the right")
        let before = try random(right + [3, 4], seed: 8)
        expectClose(try before.matmul(a).AB, try product(before, a.AB), "a matrix on the left")
        let vector = try random([5], seed: 9)
        expectClose(try a.matmul(vector: vector), try product(a.AB, vector.reshaped([5, 1])).reshaped(left + [4]), "a vector")
        expectError(.shape, "product of a factored matrix and a matrix") { try b.matmul(a) }
        expectError(.shape, "product with a vector") { try a.matmul(vectorOnLeft: random([5], seed: 1)) }
    }

    @Test func placesOfFactoredMatrices() throws {
        let matrix = try factored([], 5, 2, 4), whole = try matrix.AB
        for (row, column) in [(-1, 0), (0, -1), (-2, -3), (4, 3)] {
            let r = row < 0 ? row + 5 : row, c = column < 0 ? column + 4 : column
            expectClose(try matrix.at(.at(row)).AB, try whole.at(.range(r..<r + 1)).contiguous(), "row \(row)")
            expectClose(try matrix.at(.at(row), .at(column)).AB, try whole.at(.range(r..<r + 1), .range(c..<c + 1)).contiguous(), "\(row), \(column)")
        }
        for place in [[AxisSlice.at(5)], [.at(-6)], [.all, .at(4)], [.all, .at(-5)]] {
            expectError(.shape, "out of range") { try place.count == 1 ? matrix.at(place[0]) : matrix.at(place[0], place[1]) }
        }
        expectError(.shape, "too many indices") { try matrix.at(.all, .all, .all) }
    }

    /// Leading axes of size 1 stay; eigenvalues' sums and products are those of the whole matrix.
    @Test func decompositionsOfFactoredMatrices() throws {
        let single = try factored([1, 1], 4, 3, 4), plain = try FactoredMatrix(single.A.at(0, 0), single.B.at(0, 0))
        let (u, s, v) = try single.svd()
        #expect(u.shape == [1, 1, 4, 3] && s.shape == [1, 1, 3] && v.shape == [1, 1, 4, 3] && single.ndim == 4)
        expectSameBits(try s.reshaped([3]), try plain.svd().S, "singular values")
        let values = try plain.eigenvalues, whole = try plain.AB.array
        let trace = (0..<4).reduce(0.0) { $0 + Double(whole[$1 * 5]) }
        #expect(values.shape == [3] && abs(values.real.array.reduce(0.0) { $0 + Double($1) } - trace) < 1e-5)
        #expect(abs(values.imaginary.array.reduce(0.0) { $0 + Double($1) }) < 1e-6)
        let squares = zip(values.real.array, values.imaginary.array).reduce(0.0) { $0 + Double($1.0 * $1.0 - $1.1 * $1.1) }
        let square = try product(plain.AB, plain.AB).array
        #expect(abs(squares - (0..<4).reduce(0.0) { $0 + Double(square[$1 * 5]) }) < 1e-5)
        #expect(try plain.pair.A.array == plain.A.array && plain.getCorner(2).shape == [2, 2])
    }

    // MARK: test_svd_interpreter

    @Test func singularVectorsAreALayersOwn() throws {
        let models = try [AnalysisGoldens.model("gpt2", "processed"), AnalysisGoldens.model("pythia", "processed")].map { SVDInterpreter($0) }
        for kind in SVDInterpreter.Kind.allCases {
            let head = kind == .OV ? 0 : nil
            var found: [[Float]] = []
            for model in models {
                for layer in 0..<2 { found.append(try model.getSingularVectors(kind, layer: layer, numVectors: 4, head: head).array.map { abs($0) }) }
            }
            for (index, one) in found.enumerated() {
                for other in found[(index + 1)...] { #expect(one != other, "\(kind)") }
            }
            for layer in [2, -3] { expectError(.usage, "no such layer") { try models[0].getSingularVectors(kind, layer: layer, numVectors: 4, head: head) } }
        }
        for head in [nil, 3, -1] { expectError(.usage, "OV needs a head", "0..<3") { try models[0].getSingularVectors(.OV, layer: 0, numVectors: 4, head: head) } }
    }

    // MARK: test_direct_path_patching

    @Test(arguments: HeadInput.allCases)
    func pathsWithNothingToSend(_ input: HeadInput) throws {
        let model = try AnalysisGoldens.raw("gpt2"), tokens = try IntTensor(rows: [[3, 1, 4, 1], [5, 9, 2, 6]])
        let metric: (Tensor) throws -> Float = { try $0.at(.all, .at(-1), .at(3)).contiguous().mean() }
        let own = try model.run(.tokens(tokens), .init(cache: "z")).cache, other = try model.run(.tokens(IntTensor(rows: [[3, 8, 4, 1], [5, 7, 2, 6]])), .init(cache: "z")).cache
        let baseline = try metric(#require(model.run(.tokens(tokens)).logits)), heads = model.config.nHeads
        for method in PathMethod.allCases {
            let still = try Patching.getActPatchDirectPath(model, tokens, own, sourceLayer: 0, sourceHead: 1, component: input, method: method, metric)
            #expect(still.shape == [2, heads] && still.array[..<heads].allSatisfy { $0 == 0 } && still.array[heads...].allSatisfy { $0 == baseline })
            let moved = try Patching.getActPatchDirectPath(model, tokens, other, sourceLayer: 0, sourceHead: 1, component: input, method: method, metric)
            #expect(moved.array[..<heads].allSatisfy { $0 == 0 } && moved.array[heads...].contains { $0 != baseline })
            let all = try Patching.getActPatchDirectPathAllSources(model, tokens, other, component: input, method: method, metric)
            #expect(all.shape == [2, heads, 2, heads])
            expectSameBits(try all.at(.at(0), .at(1)).contiguous(), moved, "\(method): one source of all")
        }
    }

    // MARK: test_main_demo_pattern_hooks

    @Test func patternHooksByName() throws {
        let model = try ModelFolder(path: TestFolders.goldens + "/gpt2-tiny").load(), length = 5
        let tokens = try IntTensor(rows: [[96] + Array(1...length) + Array(1...length)])
        var stripes: [Int: [Float]] = [:], calls = 0
        let hook = Hook.read(.matching { $0.hasSuffix("pattern") }) { pattern, at in
            calls += 1
            let count = pattern.shape[2], values = pattern.array
            stripes[at.layer ?? -1] = (0..<pattern.shape[1]).map { head in
                let stripe = (length - 1..<count).map { values[(head * count + $0) * count + $0 - (length - 1)] }
                return stripe.reduce(0, +) / Float(stripe.count)
            }
        }
        let output = try model.run(.tokens(tokens), .init(hooks: [hook], cache: "pattern", returnType: .none))
        #expect(calls == model.config.nLayers && stripes.keys.sorted() == Array(0..<model.config.nLayers) && output.logits == nil)
        for (layer, scores) in stripes {
            #expect(scores.count == model.config.nHeads && scores.allSatisfy { $0 > 0 && $0 <= 1 })
            let cached = try output.cache["pattern", layer]
            var first: Float = 0
            for query in length - 1..<2 * length + 1 { first += try cached.at(.at(0), .at(0), .at(query), .at(query - (length - 1))).item() }
            #expect(abs(first / Float(length + 2) - scores[0]) < 1e-6)
        }
    }

    // MARK: test_analysis_methods

    @Test(arguments: AnalysisGoldens.names)
    func directionsBiasesAndLabels(_ name: String) throws {
        let model = try AnalysisGoldens.model(name, "processed"), config = model.config, unembedding = try model.W_U
        for token in [0, 7, config.dVocabOut - 1] {
            let column = try unembedding.at(.all, .at(token)).contiguous()
            expectSameBits(try model.tokenToResidualDirection(token), column, "\(name): \(token)")
            expectSameBits(try model.tokensToResidualDirections(IntTensor([token])).reshaped([config.dModel]), column, "\(name): [\(token)]")
        }
        let several = try model.tokensToResidualDirections(IntTensor(rows: [[3, 4, 5], [6, 3, 0]]))
        #expect(several.shape == [2, 3, config.dModel])
        expectSameBits(try several.at(.at(1), .at(1)).contiguous(), try several.at(.at(0), .at(0)).contiguous(), "\(name): the same token")
        expectError(.usage, "not an output of this model") { try model.tokenToResidualDirection(config.dVocabOut) }

        func bias(_ parameter: String) throws -> Tensor { model.parameters.has(parameter) ? try model.parameters[parameter] : Tensor(zeros: [config.dModel]) }
        #expect(try model.accumulatedBias(layer: 0).array == [Float](repeating: 0, count: config.dModel))
        let first = try bias("blocks.0.attn.b_O") + bias("blocks.0.mlp.b_out")
        expectClose(try model.accumulatedBias(layer: 1), first, "\(name): after a layer")
        let middle = config.parallelAttnMLP ? first : try first + bias("blocks.1.attn.b_O")
        expectClose(try model.accumulatedBias(layer: 1, mlpInput: true), middle, "\(name): between attention and MLP")
        expectClose(try model.accumulatedBias(layer: 1, includeMlpBiases: false), try bias("blocks.0.attn.b_O"), "\(name): attention's")
        for layer in [-1, 3] { expectError(.usage, "no such layer") { try model.accumulatedBias(layer: layer) } }

        let heads = config.nHeads
        for mode in CompositionMode.allCases {
            let scores = try model.allCompositionScores(mode)
            #expect(scores.shape == [2, heads, 2, heads])
            for from in 0..<2 {
                for to in 0..<2 {
                    let block = try scores.at(.at(from), .all, .at(to)).array
                    #expect(from < to ? block.allSatisfy { $0 > 0 && $0 <= 1 } : block.allSatisfy { $0 == 0 }, "\(name), \(mode): \(from) to \(to)")
                }
            }
        }
        #expect(model.allHeadLabels == (0..<2).flatMap { layer in (0..<heads).map { "L\(layer)H\($0)" } })
    }

    /// Results that are there are not computed again: a run may have edited them.
    @Test func headResultsAreKept() throws {
        let model = try AnalysisGoldens.model("gpt2", "processed")
        var cache = try model.run(.tokens(IntTensor(rows: [[1, 2, 3]])), .init(cache: .all)).cache
        try cache.computeHeadResults(in: model)
        let computed = try cache["result", 1]
        cache.store("blocks.0.attn.hook_result", Tensor(zeros: computed.shape))
        try cache.computeHeadResults(in: model)
        #expect(try cache["result", 0].array.allSatisfy { $0 == 0 })
        expectSameBits(try cache["result", 1], computed, "computed once")
        let (stack, labels) = try cache.stackHeadResults(in: model, layer: 1)
        #expect(labels == ["L0H0", "L0H1", "L0H2"] && stack.array.allSatisfy { $0 == 0 })
        #expect(try cache.stackHeadResults(in: model, layer: 0).stack.shape == [0, 1, 3, 12])
    }

    /// What counts most comes first, whatever its sign; one position takes its axis away, several keep it.
    @Test func attributionsAreRanked() throws {
        let model = try AnalysisGoldens.model("gpt2", "processed")
        let cache = try model.run(.tokens(IntTensor(rows: [[1, 2, 3], [4, 5, 6]])), .init(cache: .all)).cache
        let result = try cache.directLogitAttribution(in: model, by: .head, answers: AnswerTokens([3, 4], incorrect: [5, 6])), ranked = try result.ranked()
        #expect(ranked.map(\.label).sorted() == result.labels.sorted() && result.labels.contains("L1H2") && result.values.shape == [result.labels.count, 2])
        for (one, next) in zip(ranked, ranked.dropFirst()) { #expect(abs(one.mean) >= abs(next.mean)) }
        #expect(try cache.directLogitAttribution(in: model, answers: AnswerTokens(3), posSlice: .all).values.shape.dropFirst() == [2, 3])
    }

    // MARK: test_weight_processing

    /// Any of the steps, in any company, leaves the loss as it is.
    @Test func everyCombinationOfSteps() throws {
        let model = try AnalysisGoldens.raw("gpt2"), tokens = try IntTensor(rows: [[1, 2, 3, 4], [5, 6, 7, 8]])
        func loss(_ model: Transformer) throws -> Float { try #require(model.run(.tokens(tokens), .init(returnType: .loss)).loss).item() }
        let expected = try loss(model)
        for flags in 0..<32 {
            func flag(_ bit: Int) -> Bool { flags >> bit & 1 == 1 }
            // Writing weights are centred where what reads them does not see the mean: norms that are folded, or layer norms.
            let processing = WeightProcessing(foldLn: flag(0), centerWritingWeights: flag(1), centerUnembed: flag(2), foldValueBiases: flag(3),
                                              refactorFactoredAttnMatrices: flag(4))
            let processed = try model.processWeights(processing)
            #expect(abs(try loss(processed) - expected) < 1e-4, "\(flags)")
            #expect(processed.processing.done.count == flags.nonzeroBitCount)
        }
    }
}
