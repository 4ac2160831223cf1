// Singular directions of heads, overlaps of subspaces, copying scores: against TransformerLens 3.9.0, and what they refuse.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct CircuitTests {
    @Test(arguments: ExperimentGolden.names, ExperimentGolden.processings)
    func copyingScoresAgree(_ name: String, _ processing: String) throws {
        let golden = try ExperimentGolden(name)
        expectClose(try golden.model(processing).copyingScores(), try golden.tensor("\(processing)/copying"), "\(name) \(processing)", tolerance: 1e-4)
    }

    @Test(arguments: ExperimentGolden.names) func singularDirectionsAgree(_ name: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model("plain")
        for (layer, head) in [(0, 0), (1, 2)] {
            for svd in try model.decomposeHead(HeadIndex(layer, head)) {
                let prefix = "plain/svd/\(layer).\(head).\(svd.which.rawValue)"
                expectClose(svd.S, try golden.tensor("\(prefix)/S"), prefix)
                #expect(svd.directions.map { Float($0.blockID) } == (try golden.tensor("\(prefix)/blocks").array))
                #expect(svd.directions.map { $0.isDegenerate ? 1 : 0 } == (try golden.tensor("\(prefix)/degenerate").array))
                // Up to a sign, for directions that can be told apart.
                for direction in svd.directions where !direction.isDegenerate {
                    for (found, key) in [(svd.U, "U"), (svd.V, "V")] {
                        let column = try found.at(.all, .at(direction.index)).array, expected = try golden.tensor("\(prefix)/\(key)").at(.all, .at(direction.index)).array
                        let sign: Float = zip(column, expected).reduce(0) { $0 + $1.0 * $1.1 } < 0 ? -1 : 1
                        for (a, b) in zip(column, expected) { #expect(abs(a * sign - b) < 2e-4, "\(prefix) \(key) \(direction.index)") }
                    }
                }
            }
        }
    }

    @Test(arguments: ExperimentGolden.names) func overlapsAgree(_ name: String) throws {
        let golden = try ExperimentGolden(name), model = try golden.model("plain")
        let bases = try (0..<2).map { try SubspaceBasis(of: model.W_O[0].at(.at($0)).permuted(1, 0).contiguous(), rank: 4) }
        let kernel = try ProjectionKernel(bases[0], bases[1])
        expectClose(try Tensor([Float(kernel.score), Float(kernel.normalized)], shape: [2]), try golden.tensor("plain/kernel/pair"), "pair", tolerance: 1e-4)
        expectClose(try Tensor(kernel.cosines.map { Float($0) }, shape: [4]), try golden.tensor("plain/kernel/cosines"), "cosines", tolerance: 1e-4)
        expectClose(try Tensor(kernel.angles.map { Float($0) }, shape: [4]), try golden.tensor("plain/kernel/angles"), "angles", tolerance: 1e-4)
        for input in HeadInput.allCases {
            for (order, rank) in [("forward", nil), ("all", 3)] as [(String, Int?)] {
                let found = try model.attentionHeadSubspaceAffinity(to: input, forward: order == "forward", rank: rank)
                expectClose(found.scores, try golden.tensor("plain/affinity/\(input.rawValue.uppercased()).\(order)"), "\(name) \(input) \(order)", tolerance: 1e-4)
                let pairs = try found.topPairs(4)
                #expect(pairs.count == 4 && zip(pairs, pairs.dropFirst()).allSatisfy { $0.score >= $1.score })
                if order == "forward" { #expect(pairs.allSatisfy { $0.source.layer < $0.target.layer }) }
            }
        }
    }

    @Test func blocksOfDirections() throws {
        // Two near each other, one apart, two of no size.
        let found = HeadSVD.directions([2, 1.995, 1, 1e-9, 1e-10], 1e-2, 1e-6)
        #expect(found.map(\.blockID) == [0, 0, 1, 2, 2] && found.map(\.isDegenerate) == [true, true, false, true, true])
        #expect(found.map(\.isNull) == [false, false, false, true, true])
        let model = try ExperimentGolden("gpt2-tiny").model("plain")
        let svd = try model.decomposeHead(HeadIndex(0, 1), which: [.OV], eps: 0.9999)[0]
        #expect(try svd.block(of: 0).count > 1 && !svd.degenerateBlocks.isEmpty)
        expectError(.usage, "defined only up to a rotation", "block [0") { try svd.requireIsolated(0) }
        let apart = try model.decomposeHead(HeadIndex(0, 1), which: [.OV], eps: 1e-6)[0]
        try apart.requireIsolated(0)
        #expect(apart.degenerateBlocks.isEmpty)
        let null = try model.decomposeHead(HeadIndex(0, 1), which: [.QK], eps: 1e-6, nullTolerance: 0.9)[0]
        expectError(.usage, "numerically null") { try null.requireIsolated(13) }
        expectError(.usage, "no such direction") { try null.block(of: 14) }
        expectError(.usage, "no such head") { try model.decomposeHead(HeadIndex(3, 0)) }
        expectError(.usage, "no map to decompose") { try model.decomposeHead(HeadIndex(0, 0), which: []) }
    }

    @Test func subspaces() throws {
        // Spans of e1, e2 and of e2, e3: one direction shared.
        let a = try SubspaceBasis(of: Tensor([1, 0, 0, 2, 0, 0], shape: [3, 2])), b = try SubspaceBasis(of: Tensor([0, 0, 3, 0, 0, 1], shape: [3, 2]))
        let kernel = try ProjectionKernel(a, b)
        #expect(abs(kernel.score - 1) < 1e-6 && abs(kernel.normalized - 0.5) < 1e-6)
        let half = try SubspaceBasis(of: Tensor([1, 2, 1, 2], shape: [2, 2]))
        #expect(half.rank == 1 && half.measuredRank == 1)
        let moments = try ProjectionKernel.randomMoments(ambientDim: 10, rank: 3)
        #expect(abs(moments.mean - 0.9) < 1e-12 && abs(moments.variance - 2 * 9 * 49 / (100.0 * 9 * 12)) < 1e-12)
        expectError(.shape, "not a matrix") { try SubspaceBasis(of: Tensor(zeros: [3])) }
        expectError(.usage, "numerical rank is zero") { try SubspaceBasis(of: Tensor(zeros: [3, 2])) }
        expectError(.usage, "only finite values") { try SubspaceBasis(of: Tensor([.nan, 1], shape: [1, 2])) }
        expectError(.usage, "the matrix has not this rank") { try SubspaceBasis(of: Tensor([1, 2, 1, 2], shape: [2, 2]), rank: 2) }
        expectError(.usage, "no such rank") { try SubspaceBasis(of: Tensor(repeating: 1, shape: [2, 2]), rank: 3) }
        expectError(.shape, "subspaces of different spaces") { try ProjectionKernel(a, half) }
        expectError(.usage, "no such subspace") { try ProjectionKernel.randomMoments(ambientDim: 3, rank: 4) }
    }
}
