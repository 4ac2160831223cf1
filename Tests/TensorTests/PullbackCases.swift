// Every operation that makes a tensor from tensors, beside its double-precision reference: what PullbackTests goes through.
// Inputs and outcomes are lists of numbers in row-major order there.

import Foundation
import LensTensor
import LensTestSupport

struct PullbackCase: CustomStringConvertible, Sendable {
    /// The names of the functions it covers, as they are declared.
    let covers: [String]
    let what: String
    let inputs: [Tensor]
    let run: @Sendable ([Tensor]) throws -> Tensor
    let reference: @Sendable ([[Double]]) -> [Double]
    var description: String { covers.joined(separator: ", ") + (what.isEmpty ? "" : ": " + what) }

    init(_ name: String, also: [String] = [], what: String = "", _ inputs: [Tensor], run: @escaping @Sendable ([Tensor]) throws -> Tensor,
         reference: @escaping @Sendable ([[Double]]) -> [Double]) {
        (covers, self.what, self.inputs, self.run, self.reference) = ([name] + also, what, inputs, run, reference)
    }

    static func all() throws -> [PullbackCase] {
        try activations() + functions() + arithmetic() + norms() + softmaxes() + lookups() + stacks() + reductions() + views()
    }

    /// Random numbers of a size between 0.1 and 1.1 `scale`: no kink is near.
    static func numbers(_ shape: Int..., seed: UInt64, scale: Float = 1) throws -> Tensor {
        try Tensor(randomTensor(shape, seed: seed).array.map { ($0 < 0 ? $0 - 0.1 : $0 + 0.1) * scale }, shape: shape)
    }

    static func rows(_ x: [Double], _ width: Int) -> [[Double]] { stride(from: 0, to: x.count, by: width).map { Array(x[$0..<$0 + width]) } }
    static func softmax(_ x: [Double]) -> [Double] { referenceLogSoftmax(x).map { exp($0) } }

    static func function(of activation: Activation) -> @Sendable (Double) -> Double {
        switch activation {
        case .relu: { ReferenceActivation.relu($0) }
        case .gelu: { ReferenceActivation.gelu($0) }
        case .geluNew, .geluPytorchTanh: { ReferenceActivation.geluNew($0) }
        case .geluFast: { ReferenceActivation.geluFast($0) }
        case .silu, .solu: { ReferenceActivation.silu($0) }
        case .xielu: { xielu($0, 0.8, 0.8) }
        }
    }

    static func xielu(_ x: Double, _ p: Double, _ n: Double) -> Double {
        if x > 0 { return p * x * x + 0.5 * x }
        let shrunk: Double = expm1(Swift.min(x, -1e-6))
        return n * (shrunk - x) + 0.5 * x
    }

    static func clampedGate(_ u: Double, _ g: Double) -> Double {
        let held: Double = Swift.min(g, 1.5), value: Double = Swift.min(Swift.max(u, -1.5), 1.5)
        return (value + 1) * held * ReferenceActivation.sigmoid(1.7 * held)
    }

    /// The sums over the middle axis of [2, 3, 4], or what `body` makes of its three numbers.
    static func along(_ x: [Double], _ body: ([Double]) -> Double = { $0.reduce(0, +) }) -> [Double] {
        var result: [Double] = []
        for outer in 0..<2 {
            for inner in 0..<4 { result.append(body([x[outer * 12 + inner], x[outer * 12 + 4 + inner], x[outer * 12 + 8 + inner]])) }
        }
        return result
    }

    /// Rows of three times a matrix of three rows.
    static func product(_ a: [Double], _ b: [Double], columns: Int) -> [Double] {
        var result: [Double] = []
        for row in rows(a, 3) {
            for j in 0..<columns { result.append(row[0] * b[j] + row[1] * b[columns + j] + row[2] * b[2 * columns + j]) }
        }
        return result
    }

    /// [2, 3, 4] with the last axis first.
    static func turned(_ x: [Double]) -> [Double] {
        var result: [Double] = []
        for last in 0..<4 { for row in 0..<6 { result.append(x[row * 4 + last]) } }
        return result
    }

    static func applied(_ activation: Activation, _ x: [Double], _ width: Int) -> [Double] {
        activation == .solu ? rows(x, width).flatMap { row in zip(row, softmax(row)).map { $0 * $1 } } : x.map(function(of: activation))
    }

    private static func activations() throws -> [PullbackCase] {
        let x = try numbers(3, 7, seed: 1, scale: 2), gate = try numbers(3, 7, seed: 2, scale: 2)
        let alphaP = Tensor(0.3), alphaN = try Tensor([-1.2], shape: [1])
        var cases = Activation.allCases.flatMap { activation in
            [PullbackCase("applying", what: "\(activation)", [x]) { try $0[0].applying(activation) } reference: { applied(activation, $0[0], 7) },
             PullbackCase("gated", what: "\(activation)", [x, gate]) { try $0[0].gated(by: $0[1], activation) }
                reference: { zip($0[0], applied(activation, $0[1], 7)).map { $0 * $1 } }]
        }
        cases.append(PullbackCase("tanh", [x]) { try $0[0].tanh() } reference: { $0[0].map { Foundation.tanh($0) } })
        cases.append(PullbackCase("sigmoid", [x]) { try $0[0].sigmoid() } reference: { $0[0].map { ReferenceActivation.sigmoid($0) } })
        cases.append(PullbackCase("softcapped", [x]) { try $0[0].softcapped(3) } reference: { $0[0].map { (x: Double) -> Double in 3 * Foundation.tanh(x / 3) } })
        cases.append(PullbackCase("clampedGate", [x, gate]) { try $0[0].clampedGate(by: $0[1], alpha: 1.7, limit: 1.5) } reference: { zip($0[0], $0[1]).map { clampedGate($0, $1) } })
        cases.append(PullbackCase("clamped", [x]) { try $0[0].clamped(to: -1 ... 0.5) } reference: { $0[0].map { (x: Double) -> Double in min(max(x, -1), 0.5) } })
        cases.append(PullbackCase("applying", what: "learned xIELU", [x, alphaP, alphaN]) {
            try $0[0].applying(XIELU(alphaP: $0[1], alphaN: $0[2]))
        } reference: { given in
            let p: Double = log1p(Foundation.exp(given[1][0])), n: Double = 0.5 + log1p(Foundation.exp(given[2][0]))
            return given[0].map { xielu($0, p, n) }
        })
        return cases
    }

    private static func functions() throws -> [PullbackCase] {
        let x = try numbers(2, 9, seed: 3), positive = try Tensor(x.array.map(abs), shape: [2, 9])
        var cases: [PullbackCase] = []
        cases.append(PullbackCase("exp", [x]) { try $0[0].exp() } reference: { $0[0].map { Foundation.exp($0) } })
        cases.append(PullbackCase("log", [positive]) { try $0[0].log() } reference: { $0[0].map { Foundation.log($0) } })
        cases.append(PullbackCase("squareRoot", [positive]) { try $0[0].squareRoot() } reference: { $0[0].map { $0.squareRoot() } })
        cases.append(PullbackCase("abs", [x]) { try $0[0].abs() } reference: { $0[0].map { Swift.abs($0) } })
        cases.append(PullbackCase("pow", [positive]) { try $0[0].pow(2.5) } reference: { $0[0].map { Foundation.pow($0, 2.5) } })
        cases.append(PullbackCase("pow", what: "of negative numbers", [x]) { try $0[0].pow(3) } reference: { $0[0].map { $0 * $0 * $0 } })
        cases.append(PullbackCase("pow", what: "to the power of 0", [x]) { try $0[0].pow(0) } reference: { $0[0].map { _ in 1 } })
        cases.append(PullbackCase("scaled", [x]) { try $0[0].scaled(by: -0.3) } reference: { $0[0].map { $0 * -0.3 } })
        return cases
    }

    /// 2 / x - x / 2, each operator with a number on either side.
    private static func numbersAround(_ x: Tensor, _ two: Float) throws -> Tensor {
        let sum: Tensor = try x + two, product: Tensor = try two * sum, quotient: Tensor = try product / 4
        let difference: Tensor = try 3 - quotient, inverse: Tensor = try two / x
        return try difference + inverse - two
    }

    private static func arithmetic() throws -> [PullbackCase] {
        // [2, 3, 4] with [3, 1] and with itself; a stretched operand repeats.
        let a = try numbers(2, 3, 4, seed: 4), b = try numbers(2, 3, 4, seed: 5), column = try numbers(3, 1, seed: 6), row = try numbers(1, 1, 4, seed: 7)
        let operations: [(String, @Sendable (Tensor, Tensor) throws -> Tensor, @Sendable (Double, Double) -> Double)] = [
            ("+", { try $0 + $1 }, { $0 + $1 }), ("-", { try $0 - $1 }, { $0 - $1 }), ("*", { try $0 * $1 }, { $0 * $1 }), ("/", { try $0 / $1 }, { $0 / $1 }),
        ]
        var cases: [PullbackCase] = []
        for (name, operation, reference) in operations {
            cases.append(PullbackCase(name, [a, b]) { try operation($0[0], $0[1]) } reference: { zip($0[0], $0[1]).map { reference($0, $1) } })
            cases.append(PullbackCase(name, what: "a column", [a, column]) { try operation($0[0], $0[1]) } reference: { given in
                given[0].indices.map { (i: Int) -> Double in reference(given[0][i], given[1][i / 4 % 3]) }
            })
            cases.append(PullbackCase(name, what: "a column and a row", [column, row]) { try operation($0[0], $0[1]) } reference: { given in
                (0..<12).map { (i: Int) -> Double in reference(given[0][i / 4], given[1][i % 4]) }
            })
            cases.append(PullbackCase(name, what: "with itself", [a]) { try operation($0[0], $0[0]) } reference: { $0[0].map { reference($0, $0) } })
        }
        let two: Float = 2
        cases.append(PullbackCase("-", what: "prefix", [a]) { try -$0[0] } reference: { $0[0].map { -$0 } })
        cases.append(PullbackCase("+", also: ["-", "*", "/"], what: "numbers", [a]) { try numbersAround($0[0], two) } reference: {
            $0[0].map { (x: Double) -> Double in 2 / x - x / 2 }
        })
        cases.append(PullbackCase("+=", also: ["-=", "*=", "/="], [a, column]) {
            var x = $0[0]
            try x += $0[1]
            try x *= $0[1]
            try x -= $0[1]
            try x /= $0[1]
            return x
        } reference: { given in
            given[0].indices.map { (index: Int) -> Double in
                let y: Double = given[1][index / 4 % 3], x: Double = given[0][index]
                return ((x + y) * y - y) / y
            }
        })
        cases.append(PullbackCase("dot", [a, b]) { try $0[0].dot($0[1]) } reference: { [dot($0[0], $0[1])] })
        return cases
    }

    private static func norms() throws -> [PullbackCase] {
        let x = try numbers(2, 3, 5, seed: 8), weight = try numbers(5, seed: 9), bias = try numbers(5, seed: 10)
        let scale = try Tensor(numbers(2, 3, 1, seed: 11).array.map { Swift.abs($0) + 0.5 }, shape: [2, 3, 1])
        var cases: [PullbackCase] = []
        for (kind, centred) in [(NormKind.layer, true), (.rms, false)] {
            cases.append(PullbackCase("norm", what: "\(kind), out", [x, weight, bias]) {
                try norm(kind, $0[0], eps: 1e-5, weight: $0[1], bias: $0[2]).out ?? Tensor(0)
            } reference: { given in
                rows(given[0], 5).flatMap { referenceNorm($0, eps: 1e-5, centred: centred, weight: given[1], bias: given[2]).out }
            })
            cases.append(PullbackCase("norm", what: "\(kind), everything", [x, weight, bias]) {
                let all = try norm(kind, $0[0], eps: 1e-5, weight: $0[1], bias: $0[2], wantsNormalized: true, wantsScale: true)
                return try Tensor.concatenated([all.out, all.normalized, all.scale].compactMap { try $0?.reshaped([-1]) })
            } reference: { given in
                let all = rows(given[0], 5).map { referenceNorm($0, eps: 1e-5, centred: centred, weight: given[1], bias: given[2]) }
                return all.flatMap(\.out) + all.flatMap(\.normalized) + all.map(\.scale)
            })
            cases.append(PullbackCase("norm", what: "\(kind), a given scale", [x, scale, weight]) {
                let all = try norm(kind, $0[0], eps: 1e-5, scale: $0[1], weight: $0[2], wantsScale: true)
                return try Tensor.concatenated([all.out, all.scale].compactMap { try $0?.reshaped([-1]) })
            } reference: { given in
                let all = rows(given[0], 5).enumerated().map {
                    referenceNorm($0.element, eps: 1e-5, centred: centred, scale: given[1][$0.offset], weight: given[2])
                }
                return all.flatMap(\.out) + all.map(\.scale)
            })
            cases.append(PullbackCase("norm", what: "\(kind), only the scale", [x]) {
                try norm(kind, $0[0], eps: 1e-5, wantsOut: false, wantsScale: true).scale ?? Tensor(0)
            } reference: { rows($0[0], 5).map { referenceNorm($0, eps: 1e-5, centred: centred).scale } })
        }
        cases.append(PullbackCase("affine", [x, weight, bias]) { try affine($0[0], weight: $0[1], bias: $0[2]) } reference: { given in
            given[0].indices.map { (i: Int) -> Double in given[0][i] * given[1][i % 5] + given[2][i % 5] }
        })
        cases.append(PullbackCase("affine", what: "bias only", [x, bias]) { try affine($0[0], weight: nil, bias: $0[1]) } reference: { given in
            given[0].indices.map { (i: Int) -> Double in given[0][i] + given[1][i % 5] }
        })
        cases.append(PullbackCase("affine", what: "nothing", [x]) { try affine($0[0], weight: nil, bias: nil) } reference: { $0[0] })
        cases.append(PullbackCase("norm", what: "of all elements", [x]) { try $0[0].norm() } reference: { [dot($0[0], $0[0]).squareRoot()] })
        cases.append(PullbackCase("norm", what: "along an axis", [x]) { try $0[0].norm(axis: -1) } reference: { rows($0[0], 5).map { dot($0, $0).squareRoot() } })
        return cases
    }

    private static func softmaxes() throws -> [PullbackCase] {
        let x = try numbers(2, 3, 5, seed: 12, scale: 2), y = try numbers(2, 3, 5, seed: 13, scale: 2)
        var cases: [PullbackCase] = []
        cases.append(PullbackCase("softmax", [x]) { try $0[0].softmax() } reference: { rows($0[0], 5).flatMap(softmax) })
        cases.append(PullbackCase("logSoftmax", [x]) { try $0[0].logSoftmax() } reference: { rows($0[0], 5).flatMap { referenceLogSoftmax($0) } })
        cases.append(PullbackCase("crossEntropy", [x]) { try $0[0].crossEntropy(targets: [0, 4, 2, 2, 1, 3]) } reference: {
            zip(rows($0[0], 5), [0, 4, 2, 2, 1, 3]).map { -referenceLogSoftmax($0)[$1] }
        })
        cases.append(PullbackCase("crossEntropy", what: "rows that do not count", [x]) { try $0[0].crossEntropy(targets: [0, -1, 2, 2, -7, 3]) } reference: {
            zip(rows($0[0], 5), [0, -1, 2, 2, -1, 3]).map { $1 < 0 ? 0 : -referenceLogSoftmax($0)[$1] }
        })
        cases.append(PullbackCase("crossEntropy", what: "without the last position", [x]) {
            try $0[0].at(.all, .upTo(-1)).crossEntropy(targets: [0, 4, 2, 2])
        } reference: { given in
            let all = rows(given[0], 5)
            return zip([all[0], all[1], all[3], all[4]], [0, 4, 2, 2]).map { -referenceLogSoftmax($0)[$1] }
        })
        cases.append(PullbackCase("klDivergence", [x, y]) { try $0[0].klDivergence(from: $0[1]) } reference: { given in
            zip(rows(given[0], 5), rows(given[1], 5)).map { q, p in
                let (logQ, logP) = (referenceLogSoftmax(q), referenceLogSoftmax(p))
                return dot(logP.map { Foundation.exp($0) }, p.indices.map { (i: Int) -> Double in logP[i] - logQ[i] })
            }
        })
        return cases
    }

    private static func lookups() throws -> [PullbackCase] {
        let table = try numbers(5, 3, seed: 14), x = try numbers(1, 2, 2, 6, seed: 15), angles = try numbers(3, 2, seed: 16)
        let added = try numbers(3, 3, seed: 27), vector = try numbers(3, seed: 28)
        let cos = try Tensor(angles.array.map { cosf($0) }, shape: [3, 2]), sin = try Tensor(angles.array.map { sinf($0) }, shape: [3, 2])
        var cases: [PullbackCase] = []
        cases.append(PullbackCase("gatherRows", [table]) { try $0[0].gatherRows([4, 0, 4, 2]) } reference: { given in [4, 0, 4, 2].flatMap { rows(given[0], 3)[$0] } })
        cases.append(PullbackCase("gathered", [table]) { try $0[0].gathered([2, -3, 2], axis: 1) } reference: { rows($0[0], 3).flatMap { [$0[2], $0[0], $0[2]] } })
        cases.append(PullbackCase("picking", [table]) { try $0[0].picking(IntTensor([0, 2, 2, 1, 0])) } reference: {
            zip(rows($0[0], 3), [0, 2, 2, 1, 0]).map { $0[$1] }
        })
        cases.append(PullbackCase("picking", what: "several", [table]) { try $0[0].picking(IntTensor([0, 2, 2, 2, 1, 0, 0, 1, 2, 0], shape: [5, 2])) } reference: {
            zip(rows($0[0], 3), [[0, 2], [2, 2], [1, 0], [0, 1], [2, 0]]).flatMap { row, ids in ids.map { row[$0] } }
        })
        cases.append(PullbackCase("elements", [table]) { try $0[0].elements(at: [14, 0, 3, 0]) } reference: { given in [14, 0, 3, 0].map { given[0][$0] } })
        cases.append(PullbackCase("placed", [vector]) { try $0[0].placed(at: [5, 0, 5], in: [2, 3]) } reference: { given in
            [given[0][1], 0, 0, 0, 0, given[0][0] + given[0][2]]
        })
        cases.append(PullbackCase("addRows", [table, added, vector]) {
            var sums = $0[0]
            try sums.addRows([4, 1, 4], of: $0[1], times: $0[2])
            return sums
        } reference: { given in
            var sums = given[0]
            for (i, row) in [4, 1, 4].enumerated() {
                for j in 0..<3 { sums[row * 3 + j] += given[2][i] * given[1][i * 3 + j] }
            }
            return sums
        })
        for adjacent in [false, true] {
            let rotary = try RotaryTable(cos: cos, sin: sin, adjacentPairs: adjacent)
            cases.append(PullbackCase("rotate", what: "adjacent \(adjacent)", [x]) { try rotary.rotate($0[0], positions: [2, 1]) } reference: { given in
                rows(given[0], 12).enumerated().flatMap { place, row -> [Double] in
                    let position = [2, 1][place], c = cos.array[position * 2..<position * 2 + 2].map(Double.init)
                    let s = sin.array[position * 2..<position * 2 + 2].map(Double.init)
                    return rows(row, 6).flatMap { head -> [Double] in
                        var head = head
                        for i in 0..<2 {
                            let (first, second) = adjacent ? (2 * i, 2 * i + 1) : (i, i + 2)
                            let (a, b) = (head[first], head[second])
                            head[first] = a * c[i] - b * s[i]
                            head[second] = b * c[i] + a * s[i]
                        }
                        return head
                    }
                }
            })
        }
        return cases
    }

    private static func stacks() throws -> [PullbackCase] {
        let a = try numbers(2, 3, seed: 17), b = try numbers(2, 3, seed: 18), c = try numbers(1, 3, seed: 19), vector = try c.reshaped([3])
        let parts = try numbers(2, 3, 4, seed: 20), bias = try numbers(4, seed: 21), residual = try numbers(2, 4, seed: 22), matrix = try numbers(3, 4, seed: 23)
        var cases: [PullbackCase] = []
        cases.append(PullbackCase("stacked", [a, b]) { try Tensor.stacked($0) } reference: { $0[0] + $0[1] })
        cases.append(PullbackCase("concatenated", [a, c, b]) { try Tensor.concatenated($0) } reference: { $0[0] + $0[1] + $0[2] })
        cases.append(PullbackCase("summedParts", what: "with bias and residual", [parts, bias, residual]) {
            let (out, linear) = try $0[0].summedParts(bias: $0[1], residual: $0[2], keepsLinear: true)
            return try Tensor.concatenated([out, linear ?? Tensor(0)])
        } reference: { given in
            let sums = along(given[0])
            let linear: [Double] = sums.indices.map { (i: Int) -> Double in sums[i] + given[1][i % 4] }
            return zip(linear, given[2]).map { $0 + $1 } + linear
        })
        cases.append(PullbackCase("summedParts", [parts]) { try $0[0].summedParts().out } reference: { along($0[0]) })
        cases.append(PullbackCase("matmul", [a, matrix]) { try $0[0].matmul($0[1]) } reference: { product($0[0], $0[1], columns: 4) })
        cases.append(PullbackCase("matmul", what: "a vector", [a, vector]) { try $0[0].matmul($0[1]) } reference: { product($0[0], $0[1], columns: 1) })
        return cases
    }

    private static func reductions() throws -> [PullbackCase] {
        let x = try numbers(2, 3, 4, seed: 24)
        var cases: [PullbackCase] = []
        cases.append(PullbackCase("sum", [x]) { try $0[0].sum() } reference: { [$0[0].reduce(0, +)] })
        cases.append(PullbackCase("mean", [x]) { try $0[0].mean() } reference: { [$0[0].reduce(0, +) / 24] })
        cases.append(PullbackCase("summed", [x]) { try $0[0].summed(axis: 1) } reference: { along($0[0]) })
        cases.append(PullbackCase("summed", what: "the axis stays", [x]) { try $0[0].summed(axis: -1, keepsAxis: true) * $0[0] } reference: {
            rows($0[0], 4).flatMap { (row: [Double]) -> [Double] in
                let sum: Double = row.reduce(0, +)
                return row.map { $0 * sum }
            }
        })
        cases.append(PullbackCase("mean", what: "axis", [x]) { try $0[0].mean(axis: 1) } reference: { along($0[0]).map { $0 / 3 } })
        cases.append(PullbackCase("maximum", [x]) { try $0[0].maximum(axis: 1) } reference: { along($0[0]) { $0.max() ?? 0 } })
        cases.append(PullbackCase("minimum", [x]) { try $0[0].minimum(axis: 1) } reference: { along($0[0]) { $0.min() ?? 0 } })
        cases.append(PullbackCase("centered", [x]) { try $0[0].centered() } reference: {
            rows($0[0], 4).flatMap { (row: [Double]) -> [Double] in
                let mean: Double = row.reduce(0, +) / 4
                return row.map { $0 - mean }
            }
        })
        return cases
    }

    private static func views() throws -> [PullbackCase] {
        let x = try numbers(2, 3, 4, seed: 25), y = try numbers(3, 1, seed: 26)
        var cases: [PullbackCase] = []
        cases.append(PullbackCase("permuted", [x]) { try $0[0].permuted(2, 0, 1) } reference: { turned($0[0]) })
        cases.append(PullbackCase("movingAxis", [x]) { try $0[0].movingAxis(-1, to: 0) } reference: { turned($0[0]) })
        cases.append(PullbackCase("reshaped", also: ["contiguous", "copied"], [x]) { try $0[0].permuted([2, 0, 1]).contiguous().copied().reshaped([6, -1]) } reference: { turned($0[0]) })
        cases.append(PullbackCase("broadcast", [y]) { try $0[0].broadcast(to: [2, 3, 2]) } reference: { given in (0..<12).map { given[0][$0 / 2 % 3] } })
        cases.append(PullbackCase("at", also: ["view"], [x]) { try $0[0].at(.all, .at(-1), .from(1)) } reference: { given in [9, 10, 11, 21, 22, 23].map { given[0][$0] } })
        cases.append(PullbackCase("set", also: ["assign"], [x, y]) {
            var x = $0[0]
            try x.set(.at(0), .all, .range(1..<3), to: $0[1])
            return x
        } reference: { given in given[0].indices.map { (i: Int) -> Double in i < 12 && (1..<3).contains(i % 4) ? given[1][i / 4] : given[0][i] } })
        return cases
    }
}
