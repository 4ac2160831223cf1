// Weights, factored matrices and singular vectors against TransformerLens 3.9.0.

import LensTestSupport
import Testing
import TransformerLens

@Suite struct WeightGoldenTests {
    private static let methods: Set<String> = ["accumulated_bias", "all_composition_scores", "tokens_to_residual_directions", "weight", "factored", "svd_interpreter"]

    @Test(arguments: AnalysisGoldens.names, ["raw", "processed"])
    func methods(_ name: String, _ kind: String) throws {
        let file = try AnalysisGoldens.cases(name, kind), model = try AnalysisGoldens.model(name, kind)
        var seen: Set<String> = []
        for one in file.cases where Self.methods.contains(one.method) {
            let what = "\(name), \(kind): \(one)"
            if one.method == "factored" {
                try factored(one, model, what)
            } else {
                var found = try call(one, model)
                if one.method == "svd_interpreter" { found = try aligned(found, with: one.expected) }
                expectClose(found, one.expected, what)
            }
            seen.insert(one.method)
        }
        #expect(seen == Self.methods)
    }

    private func call(_ one: CaseFile.Case, _ model: Transformer) throws -> Tensor {
        switch one.method {
        case "accumulated_bias":
            return try model.accumulatedBias(layer: one.int("layer") ?? -1, mlpInput: one.flag("mlp_input"), includeMlpBiases: one.arguments["include_mlp_biases"] != false)
        case "all_composition_scores": return try model.allCompositionScores(#require(one.string("mode").flatMap(CompositionMode.init)))
        case "tokens_to_residual_directions":
            let tokens = try one.tokens("tokens")
            return try model.tokensToResidualDirections(#require(tokens))
        case "svd_interpreter":
            let kind = try #require(one.string("kind").flatMap(SVDInterpreter.Kind.init))
            return try SVDInterpreter(model).getSingularVectors(kind, layer: one.int("layer") ?? -1, numVectors: one.int("count") ?? 0, head: one.int("head"))
        default: return try weight(one.string("name") ?? "", model)
        }
    }

    private func weight(_ name: String, _ model: Transformer) throws -> Tensor {
        let stacks = ["W_Q": model.W_Q, "W_K": model.W_K, "W_V": model.W_V, "W_O": model.W_O, "b_Q": model.b_Q, "b_K": model.b_K, "b_V": model.b_V, "b_O": model.b_O,
                      "W_in": model.W_in, "W_gate": model.W_gate, "W_out": model.W_out, "b_in": model.b_in, "b_out": model.b_out]
        if let stack = stacks[name] {
            #expect(try stack.stacked().shape == [2] + stack[0].shape && stack[-1].array == stack[1].array)
            return try stack[1]
        }
        switch name {
        case "W_U": return try model.W_U
        case "b_U": return try model.b_U
        case "W_E": return try model.W_E
        default: return try model.W_E_pos
        }
    }

    private func factored(_ one: CaseFile.Case, _ model: Transformer, _ what: String) throws {
        let matrix = try (one.string("name") == "QK" ? model.QK : model.OV).stacked()
        #expect(matrix.shape == [2, model.config.nHeads, 12, 12] && matrix.mdim == 4)
        switch one.string("of") {
        case "S": expectClose(try matrix.S, one.expected, what)
        case "norm": expectClose(try matrix.norm(), one.expected, what)
        case "U": expectClose(try aligned(matrix.U, with: one.expected), one.expected, what)
        case "V": expectClose(try aligned(matrix.V, with: one.expected), one.expected, what)
        case "corner": expectClose(try matrix.getCorner(), one.expected, what)
        case "even": expectClose(try matrix.makeEven().AB.at(1, 0), one.expected, what)
        case "collapse_l": expectClose(try aligned(matrix.collapseL().at(1, 0).permuted(1, 0), with: one.expected.permuted(1, 0)), try one.expected.permuted(1, 0), what)
        case "collapse_r": expectClose(try aligned(matrix.collapseR().at(1, 0), with: one.expected), one.expected, what)
        default: try expectSameSets(matrix.eigenvalues, one.expected, what)
        }
    }

    /// Each column's sign as in `reference`.
    private func aligned(_ x: Tensor, with reference: Tensor) throws -> Tensor {
        guard x.shape == reference.shape, let columns = x.shape.last else { return x }
        let rows = x.rank == 3 && x.shape[1] == 1 ? x.shape[0] : x.shape[x.rank - 2], wanted = reference.array
        var values = x.array
        for matrix in 0..<values.count / (rows * columns) {
            for column in 0..<columns {
                let places = (0..<rows).map { (matrix * rows + $0) * columns + column }
                if places.reduce(0, { $0 + values[$1] * wanted[$1] }) < 0 { for place in places { values[place] = -values[place] } }
            }
        }
        return try Tensor(values, shape: x.shape)
    }

    /// Each head's eigenvalues as a set: every one of TransformerLens' is met by one of ours, taken away then.
    private func expectSameSets(_ found: ComplexTensor, _ expected: Tensor, _ what: String) throws {
        #expect(found.shape + [2] == expected.shape)
        let count = found.shape[2], real = found.real.array, imaginary = found.imaginary.array, wanted = expected.array
        let largest = Double(try found.magnitude.array.max() ?? 0)
        for head in 0..<real.count / count {
            var left = Array(head * count..<(head + 1) * count)
            for place in head * count..<(head + 1) * count {
                func distance(_ index: Int) -> Double {
                    let (dr, di) = (Double(real[index] - wanted[2 * place]), Double(imaginary[index] - wanted[2 * place + 1]))
                    return (dr * dr + di * di).squareRoot()
                }
                let nearest = try #require(left.min { distance($0) < distance($1) })
                // Eigenvalues of an unsymmetric matrix move further than its elements.
                #expect(distance(nearest) <= 5 * goldenTolerance * largest, "\(what): head \(head)")
                left.removeAll { $0 == nearest }
            }
        }
    }
}
