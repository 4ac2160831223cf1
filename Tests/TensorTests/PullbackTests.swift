// Every pullback against differences of a double-precision reference, over contiguous tensors and views; and the list of all
// operations, so that none may lose a gradient unseen.

import Foundation
import LensFiles
import LensTensor
import LensTestSupport
import Testing

@Suite struct PullbackTests {
    /// The same elements with gaps and in another order of axes underneath.
    private static func strided(_ x: Tensor) throws -> Tensor {
        guard x.rank > 0 else { return x }
        let order = Array((0..<x.rank).reversed())
        var storage = Tensor(repeating: .nan, shape: order.map { x.shape[$0] + 1 })
        let inside = order.map { TensorIndex.range(1..<x.shape[$0] + 1) }
        try storage.assign(x.permuted(order), at: inside)
        return try storage.view(inside).permuted(order)
    }

    @Test(arguments: try PullbackCase.all())
    func againstDifferences(_ given: PullbackCase) throws {
        let plain = try given.run(given.inputs)
        expectClose(plain.array, given.reference(given.inputs.map { $0.array.map(Double.init) }), relative: 2e-6, absolute: 2e-6, "\(given) forward")
        #expect(!plain.isTracked)
        let weights = try randomTensor(plain.shape, seed: 99)
        let wide = weights.array.map(Double.init), at = given.inputs.map { $0.array.map(Double.init) }
        let expected = at.indices.map { place in
            differences(of: { moved in
                var at = at
                at[place] = moved
                return dot(given.reference(at), wide)
            }, at: at[place])
        }
        for inputs in [given.inputs, try given.inputs.map(Self.strided)] {
            // All inputs at once, then each alone: what is not asked for is left out.
            let all = inputs.map { $0.tracked() }, out = try given.run(all)
            #expect(out.isTracked, "\(given) loses the graph")
            expectSameBits(out, plain, "\(given): tracking changes no bit")
            let found = try gradients(of: (out * weights).sum(), to: all)
            for place in inputs.indices {
                let largest = expected[place].map(Swift.abs).max() ?? 0
                expectClose(found[place].array, expected[place], relative: 0, absolute: 1e-5 * (1 + largest), "\(given), input \(place)")
                #expect(found[place].shape == inputs[place].shape && !found[place].isTracked)
                var one = inputs
                one[place] = one[place].tracked()
                let alone = try given.run(one)
                #expect(alone.isTracked, "\(given) loses the graph of input \(place)")
                expectSameBits(try gradients(of: (alone * weights).sum(), to: [one[place]])[0], found[place], "\(given), input \(place) alone")
            }
        }
    }

    /// No element, one element, NaN.
    @Test func edges() throws {
        let empty = Tensor(zeros: [0, 4]).tracked(), one = Tensor(repeating: 2, shape: [1, 1]).tracked()
        let operations: [(Tensor) throws -> Tensor] = [
            { try $0.applying(.gelu) }, { try $0.gated(by: $0, .silu) }, { try $0.softmax() }, { try $0.logSoftmax() }, { try $0 * $0 }, { try $0 + 1 },
            { try $0.exp() }, { try $0.abs() }, { try $0.pow(2) }, { try $0.summed(axis: 0) }, { try $0.summed(axis: 1) }, { try $0.mean(axis: 1) },
            { try norm(.rms, $0, eps: 1e-5).out ?? $0 }, { try norm(.layer, $0, eps: 1e-5).out ?? $0 }, { try $0.centered() }, { try $0.norm(axis: 1) },
            { try $0.clamped(to: 0 ... 1) }, { try $0.klDivergence(from: $0.scaled(by: 2)) }, { try $0.crossEntropy(targets: Array(repeating: 0, count: $0.shape[0])) },
            { try $0.picking(IntTensor(Array(repeating: 0, count: $0.shape[0]))) }, { try $0.maximum(axis: 1) }, { try $0.gathered([0, 0], axis: 1) },
            { try Tensor.concatenated([$0, $0]) }, { try $0.matmul(Tensor(repeating: 1, shape: [$0.shape[1], 3])) },
        ]
        let nan = Tensor(repeating: .nan, shape: [2, 4]).tracked()
        for (index, operation) in operations.enumerated() {
            #expect(try gradients(of: operation(empty).sum(), to: [empty])[0].shape == [0, 4], "operation \(index)")
            let ofOne = try gradients(of: operation(one).sum(), to: [one])[0].array
            #expect(ofOne.filter { !$0.isFinite }.isEmpty, "operation \(index)")
            #expect(try operation(nan).sum().item().isNaN, "operation \(index)")
        }
        for operation in [{ try $0.applying(.relu) }, { try $0.abs() }, { try $0.softmax() }, { try $0.clamped(to: 0 ... 1) }] as [(Tensor) throws -> Tensor] {
            let gradient = try gradients(of: operation(nan).sum(), to: [nan])[0].array
            #expect(gradient.filter { !$0.isNaN }.isEmpty)
        }
    }

    @Test func maskedLogits() throws {
        let inf = Float.infinity
        let x = try Tensor([1, -inf, 2, -inf], shape: [1, 4]).tracked(), other = try Tensor([0, -inf, 3, -inf], shape: [1, 4])
        for metric in [try x.softmax().picking(IntTensor([2])), try x.logSoftmax().picking(IntTensor([2])), try x.crossEntropy(targets: [2]),
                       try x.klDivergence(from: other), try other.klDivergence(from: x)] {
            let gradient = try gradients(of: metric.sum(), to: [x])[0].array
            let value = try metric.sum().item()
            #expect(value.isFinite && gradient.filter { !$0.isFinite }.isEmpty && gradient[1] == 0 && gradient[3] == 0)
            #expect(gradient[0] != 0 && Swift.abs(gradient[0] + gradient[2]) < 1e-6)
        }
        let masked = Tensor(repeating: -inf, shape: [1, 3]).tracked()
        #expect(try gradients(of: masked.softmax().sum(), to: [masked])[0].array == [0, 0, 0])
    }

    @Test func kinksAndTies() throws {
        let x = try Tensor([0, 0, -1, 3, 3], shape: [5]).tracked()
        #expect(try gradients(of: x.applying(.relu).sum(), to: [x])[0].array == [0, 0, 0, 1, 1])
        #expect(try gradients(of: x.abs().sum(), to: [x])[0].array == [0, 0, -1, 1, 1])
        #expect(try gradients(of: x.maximum(axis: 0), to: [x])[0].array == [0, 0, 0, 1, 0])
        #expect(try gradients(of: x.minimum(axis: 0), to: [x])[0].array == [0, 0, 1, 0, 0])
        #expect(try gradients(of: x.clamped(to: 0 ... 3).sum(), to: [x])[0].array == [1, 1, 0, 1, 1])
        let zero = Tensor(zeros: [3]).tracked()
        #expect(try gradients(of: zero.norm(), to: [zero])[0].array == [0, 0, 0])
        #expect(try x.maximum(axis: 0).item() == 3 && x.mean().item() == 1)
        let mean: Float = try x.mean()
        #expect(mean == 1)
    }

    /// A row looked up many times gets its sum in one order, whatever the threads.
    @Test func threadsChangeNoGradient() throws {
        let table = try randomTensor([50, 300], seed: 1).tracked(), weights = try randomTensor([4000, 300], seed: 2)
        let ids = (0..<4000).map { $0 * 7919 % 50 }
        defer { Kernels.threads = 0 }
        let found = try [1, 2].map { threads in
            Kernels.threads = threads
            let out = try affine(table.gatherRows(ids), weight: Tensor(repeating: 2, shape: [300]).tracked(), bias: nil)
            return try gradients(of: (out * weights).sum(), to: [table])[0]
        }
        expectSameBits(found[0], found[1], "threads")
    }

    @Test func whatHasNoGradientRefuses() throws {
        let x = Tensor(zeros: [2, 2]).tracked()
        expectError(.usage) { try RotaryTable(cos: x, sin: Tensor(zeros: [2, 2]), adjacentPairs: false) }
        expectError(.usage) { try PackedMatrix(x) }
        var changed = x
        expectError(.usage) { try changed.withUnsafeMutableElements { $0[0] = 1 } }
        expectError(.shape) { try x.picking(IntTensor([0, 2])) }
        expectError(.shape) { try x.picking(IntTensor([0])) }
        expectError(.shape) { try x.klDivergence(from: Tensor(zeros: [2])) }
        expectError(.shape) { try x.dot(Tensor(zeros: [2])) }
        expectError(.shape) { try x.summed(axis: 2) }
        expectError(.shape) { try Tensor(zeros: [2, 0]).maximum(axis: 1) }
    }
}
