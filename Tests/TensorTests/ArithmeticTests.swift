// Arithmetic with broadcasting, over views of every sort, and the operations that check shapes.

import LensFiles
import LensTensor
import LensTestSupport
import Testing

@Suite struct ArithmeticTests {
    @Test func elementByElement() throws {
        let a = try counting(2, 3), b = try Tensor([10, 20, 30], shape: [3])
        expectElements(try a + b, [10, 21, 32, 13, 24, 35])
        expectElements(try a - b, [-10, -19, -28, -7, -16, -25])
        expectElements(try a * b, [0, 20, 60, 30, 80, 150])
        expectElements(try b / Tensor([2, 5, 10], shape: [3]), [5, 4, 3])
        expectElements(try a + 1, [1, 2, 3, 4, 5, 6])
        expectElements(try 2 * a, [0, 2, 4, 6, 8, 10])
        expectElements(try a + Tensor([1, 2], shape: [2, 1]), [1, 2, 3, 5, 6, 7])
        expectElements(try counting(2, 1) + counting(1, 3), [0, 1, 2, 1, 2, 3], shape: [2, 3])
        expectElements(try counting(2, 1, 2) * counting(3, 1), [0, 0, 0, 1, 0, 2, 0, 0, 2, 3, 4, 6], shape: [2, 3, 2])
        expectElements(try Tensor(2) + 3, [5], shape: [])
        expectElements(try Tensor(zeros: [0, 3]) + b, [], shape: [0, 3])
        expectElements(try Tensor(zeros: [0]) + 1, [], shape: [0])
        expectElements(try a.scaled(by: -2), [0, -2, -4, -6, -8, -10].map { $0 == 0 ? -0.0 : $0 })
        expectElements(try a.permuted(1, 0) + a.permuted(1, 0), [0, 6, 2, 8, 4, 10], shape: [3, 2])
        expectElements(try a[.all, .from(1)] + a[.all, .upTo(2)], [1, 3, 7, 9], shape: [2, 2])
        expectElements(try a[0, .from(1)] * a[1, .upTo(2)], [3, 8])
        for wrong in [[2], [3, 2], [2, 2], [4, 2, 4]] {
            expectError(.shape, "\(wrong)") { try a + Tensor(zeros: wrong) }
            expectError(.shape, "\(wrong)") { try a * Tensor(zeros: wrong) }
        }
    }

    @Test func inPlace() throws {
        var a = try counting(2, 2)
        let before = a
        try a += 1
        try a *= Tensor([1, 2], shape: [2])
        try a -= Tensor([1], shape: [1, 1])
        try a /= 2
        expectElements(a, [0, 1.5, 1, 3.5])
        expectElements(before, [0, 1, 2, 3])
        expectError { try a += Tensor(zeros: [3, 2, 2]) }
        expectError { try a += Tensor(zeros: [3]) }
        expectElements(a, [0, 1.5, 1, 3.5])
    }

    /// Every operation gives the same bits for a strided view and for its contiguous copy.
    @Test func viewsAreTheirCopies() throws {
        let base = try randomTensor([5, 4, 9], seed: 1), gates = try randomTensor([9, 5, 4], seed: 2)
        let x = try base.permuted(2, 0, 1)[.range(1..<7), .from(1)], copy = try Tensor(x.array, shape: x.shape)
        let gate = gates[.range(2..<8), .upTo(4)], gateCopy = try Tensor(gate.array, shape: gate.shape)
        expectSameBits(try x.softmax(), try copy.softmax(), "softmax")
        expectSameBits(try x.logSoftmax(), try copy.logSoftmax(), "log-softmax")
        expectSameBits(try x + gate, try copy + gateCopy, "+")
        expectSameBits(try x / gate, try copy / gateCopy, "/")
        expectSameBits(try x.scaled(by: 3), try copy.scaled(by: 3), "scaled")
        expectSameBits(try x.summedParts().out, try copy.summedParts().out, "summed parts")
        for activation in Activation.allCases {
            expectSameBits(try x.applying(activation), try copy.applying(activation), "\(activation)")
            expectSameBits(try x.gated(by: gate, activation), try copy.gated(by: gateCopy, activation), "gated, \(activation)")
        }
        for kind in [NormKind.layer, .rms] {
            let weight = base[0, .all, 3], bias = base[.range(0..<4), 0, 2]
            let viewed = try norm(kind, x, eps: 1e-5, weight: weight, bias: bias, wantsNormalized: true, wantsScale: true)
            let copied = try norm(kind, copy, eps: 1e-5, weight: Tensor(weight.array, shape: [4]), bias: Tensor(bias.array, shape: [4]),
                                  wantsNormalized: true, wantsScale: true)
            expectSameBits(viewed.out, copied.out, "norm")
            expectSameBits(viewed.normalized, copied.normalized, "normalized")
            expectSameBits(viewed.scale, copied.scale, "scale")
        }
        #expect(try x.argmax() == copy.argmax())
        #expect(try x.mean() == copy.mean())
    }

    @Test func numbers() throws {
        let x = try Tensor([1, 2, 3, -.infinity], shape: [1, 4])
        let softmax = try x.softmax().array
        #expect(softmax[3] == 0 && abs(softmax.reduce(0, +) - 1) < 1e-6 && abs(softmax[2] / softmax[1] - 2.7182818) < 1e-5)
        expectElements(try Tensor(repeating: -.infinity, shape: [2, 3]).softmax(), [0, 0, 0, 0, 0, 0])
        #expect(try Tensor([.nan, 1], shape: [2]).softmax().array.contains { $0.isNaN })
        #expect(try x.argmax().array == [2])
        #expect(try Tensor([5, 5, 1, .nan, 2, 3], shape: [2, 3]).argmax() == IntTensor([0, 0], shape: [2]))
        #expect(try counting(4).mean() == 1.5)
        let loss = try counting(2, 3).crossEntropy(targets: [2, 0]).array, logs = try counting(2, 3).logSoftmax().array
        #expect(abs(loss[0] + logs[2]) < 1e-6 && abs(loss[1] + logs[3]) < 1e-6)
        expectElements(try counting(3, 2).gatherRows([2, 0, 2]), [4, 5, 0, 1, 4, 5], shape: [3, 2])
        expectElements(try counting(3, 2).gatherRows([]), [], shape: [0, 2])
        let residual = try Tensor([10, 20, 30], shape: [1, 3])
        let (out, linear) = try counting(1, 2, 3).summedParts(bias: Tensor([1, 1, 1], shape: [3]), residual: residual, keepsLinear: true)
        expectElements(out, [14, 26, 38], shape: [1, 3])
        expectElements(try #require(linear), [4, 6, 8], shape: [1, 3])
    }

    @Test func shapesAreChecked() throws {
        let x = try counting(2, 3)
        expectError { try x.gated(by: Tensor(zeros: [3, 2]), .relu) }
        expectError { try x.crossEntropy(targets: [0]) }
        expectError { try x.crossEntropy(targets: [0, 3]) }
        expectError { try x.gatherRows([2]) }
        expectError { try x.gatherRows([-1]) }
        expectError { try x.gatherRows([Int.max]) }
        expectError { try Tensor(zeros: [3]).gatherRows([0]) }
        expectError { try Tensor(1).softmax() }
        expectError { try Tensor(1).argmax() }
        expectError { try Tensor(zeros: [2, 0]).argmax() }
        expectError { try Tensor(zeros: [3]).summedParts() }
        expectError { try Tensor(zeros: [0, 3]).summedParts() }
        expectError { try x.summedParts(bias: Tensor(zeros: [2])) }
        expectError { try x.summedParts(residual: Tensor(zeros: [2])) }
        expectError { try norm(.layer, Tensor(1), eps: 0) }
        expectError { try norm(.layer, x, eps: 0, weight: Tensor(zeros: [2])) }
        expectError { try norm(.layer, x, eps: 0, scale: Tensor(zeros: [3, 1])) }
        expectError { try affine(x, weight: Tensor(zeros: [2]), bias: nil) }
        expectError { try affine(Tensor(1), weight: nil, bias: nil) }
        let table = try RotaryTable(cos: Tensor(zeros: [4, 2]), sin: Tensor(zeros: [4, 2]), adjacentPairs: false)
        expectError { try RotaryTable(cos: Tensor(zeros: [4, 2]), sin: Tensor(zeros: [4, 3]), adjacentPairs: false) }
        expectError { try table.rotate(Tensor(zeros: [1, 2, 1, 3]), positions: [0, 1]) }
        expectError { try table.rotate(Tensor(zeros: [1, 2, 1, 4]), positions: [0]) }
        expectError { try table.rotate(Tensor(zeros: [1, 2, 1, 4]), positions: [0, 4]) }
        expectError { try table.rotate(Tensor(zeros: [1, 2, 1, 4]), positions: [0, -1]) }
    }

    /// Rotation by halves and by adjacent pairs; channels past the rotary ones pass.
    @Test func rotation() throws {
        let angle: Float = 0.75
        let cos = try Tensor([1, 0.7316889], shape: [2, 1]), sin = try Tensor([0, 0.6816388], shape: [2, 1])
        #expect(angle == 0.75)
        for adjacent in [false, true] {
            let table = try RotaryTable(cos: cos, sin: sin, adjacentPairs: adjacent)
            let x = try Tensor([3, 4, 5, 6], shape: [1, 2, 1, 2])
            let y = try table.rotate(x, positions: [0, 1]).array
            #expect(y[0] == 3 && y[1] == 4)
            #expect(abs(y[2] - (5 * 0.7316889 - 6 * 0.6816388)) < 1e-6 && abs(y[3] - (6 * 0.7316889 + 5 * 0.6816388)) < 1e-6)
            let wide = try table.rotate(Tensor([5, 6, 7], shape: [1, 1, 1, 3]), positions: [1]).array
            #expect(wide[0] == y[2] && wide[1] == y[3] && wide[2] == 7)
        }
    }
}
