// Kernels of training: optimizer updates against Double on every set and any number of threads, losses in double against the
// C library.
import CLensKernels
import Foundation
import LensTestSupport
import Testing

@Suite struct TrainingKernelTests {
    @Test(arguments: ISA.runnable, rowLengths + [20_000])
    func adam(isa: ISA, count: Int) {
        var random = SeededRandom(UInt64(count) + 11)
        let gradient = random.floats(count, scale: 2), start = random.floats(count), first = random.floats(count)
        let second = random.floats(count).map { $0 * $0 }
        var step = lens_adam_step(gradient_scale: 0.5, shrink: 0.99, weight_decay: 0.25, beta1: 0.75, one_minus_beta1: 0.25, beta2: 0.875,
                                  one_minus_beta2: 0.125, eps: 0.0625, step_size: 0.125, correction2_root: 0.5, lerps_from_start: true)
        let (one, two) = withOneAndTwoThreads { () -> [[Float]] in
            let parts = [start, first, second].map { values in
                let guarded = GuardedFloats(count)
                guarded.base.update(from: values, count: count)
                return guarded
            }
            lens_adam(isa.pointer, &step, Int64(count), gradient, parts[0].base, parts[1].base, parts[2].base)
            for part in parts { part.expectIntact() }
            return parts.map(\.values)
        }
        for (a, b) in zip(one, two) { expectSameBits(a, b) }
        let expected = (0..<count).map { i -> (Double, Double, Double) in
            let p = Double(start[i]) * Double(step.shrink), g = Double(gradient[i]) * 0.5 + 0.25 * p
            let m = Double(first[i]) + 0.25 * (g - Double(first[i])), v = Double(second[i]) * 0.875 + 0.125 * g * g
            return (p - 0.125 * m / (v.squareRoot() / 0.5 + 0.0625), m, v)
        }
        expectClose(one[0], expected.map { Expected($0.0, within: 16 * roundoff * (abs($0.0) + 1)) }, "parameter")
        expectClose(one[1], expected.map { Expected($0.1, within: 8 * roundoff * (abs($0.1) + 1)) }, "average")
        expectClose(one[2], expected.map { Expected($0.2, within: 8 * roundoff * (abs($0.2) + 1)) }, "average of squares")
    }

    @Test(arguments: ISA.runnable, rowLengths)
    func sgd(isa: ISA, count: Int) {
        var random = SeededRandom(UInt64(count) + 12)
        let gradient = random.floats(count, scale: 2), start = random.floats(count), velocity = random.floats(count)
        for (nesterov, isFirst) in [(false, false), (true, false), (true, true)] {
            var step = lens_sgd_step(gradient_scale: 0.5, learning_rate: 0.25, weight_decay: 0.125, momentum: 0.75, one_minus_dampening: 0.5,
                                     nesterov: nesterov, is_first: isFirst)
            let p = GuardedFloats(count), v = GuardedFloats(count)
            p.base.update(from: start, count: count)
            v.base.update(from: velocity, count: count)
            lens_sgd(isa.pointer, &step, Int64(count), gradient, p.base, v.base)
            p.expectIntact()
            v.expectIntact()
            expectClose(p.values, (0..<count).map { i in
                let g = Double(gradient[i]) * 0.5 + 0.125 * Double(start[i])
                let speed = isFirst ? g : Double(velocity[i]) * 0.75 + 0.5 * g
                let value = Double(start[i]) - 0.25 * (nesterov ? g + 0.75 * speed : speed)
                return Expected(value, within: 8 * roundoff * (abs(value) + 2))
            }, "parameter, nesterov \(nesterov), first \(isFirst)")
        }
    }

    @Test(arguments: ISA.runnable)
    func plainSGDNeedsNoVelocity(isa: ISA) {
        var step = lens_sgd_step(gradient_scale: 1, learning_rate: 0.5, weight_decay: 0, momentum: 0, one_minus_dampening: 1, nesterov: false, is_first: true)
        var parameter: [Float] = [1, 2, .nan]
        lens_sgd(isa.pointer, &step, 3, [2, -2, 1], &parameter, nil)
        #expect(parameter[0] == 0 && parameter[1] == 3 && parameter[2].isNaN)
    }

    @Test(arguments: ISA.runnable, rowLengths + [20_000])
    func squareSum(isa: ISA, count: Int) {
        var random = SeededRandom(UInt64(count) + 13)
        let x = random.floats(count, scale: 3)
        let expected = x.reduce(0.0) { $0 + Double($1) * Double($1) }
        let found = lens_square_sum(isa.pointer, Int64(count), x)
        #expect(abs(found - expected) <= 1e-13 * expected)
    }

    @Test(arguments: ISA.runnable, rowLengths.filter { $0 > 0 })
    func crossEntropyInDouble(isa: ISA, n: Int) {
        var random = SeededRandom(UInt64(n) + 14)
        let rows = 5
        var x = random.floats(rows * n, scale: 40)
        // One logit far above the rest: the loss is far below float32's roundoff, and its gradient too.
        x[2 * n + n / 2] = 70
        let targets: [Int32] = [0, Int32(n - 1), Int32(n / 2), -1, Int32(n / 3)]
        var lse = [Double](repeating: .nan, count: rows), losses = lse
        lens_cross_entropy_double(isa.pointer, Int64(rows), Int64(n), x, targets, &lse, &losses)
        let gradient = GuardedFloats(rows * n), factors = [0.5, 2, 1, 1, -1]
        lens_cross_entropy_double_gradient(isa.pointer, Int64(rows), Int64(n), x, targets, lse, factors, gradient.base)
        gradient.expectIntact()
        for row in 0..<rows {
            guard targets[row] >= 0 else {
                #expect(losses[row] == 0)
                #expect(gradient.values[row * n..<(row + 1) * n].allSatisfy { $0 == 0 })
                continue
            }
            let values = x[row * n..<(row + 1) * n].map(Double.init), target = Int(targets[row]), max = values.max() ?? 0
            let sum = values.reduce(0.0) { $0 + exp($1 - max) }
            let expected = log(sum) - (values[target] - max)
            #expect(abs(losses[row] - expected) <= 1e-14 * (1 + abs(max) + abs(expected)), "row \(row): \(losses[row]), \(expected)")
            expectClose(Array(gradient.values[row * n..<(row + 1) * n]), values.indices.map { i in
                let value = factors[row] * (exp(values[i] - max) / sum - (i == target ? 1 : 0))
                return Expected(value, within: roundoff * abs(value) + 1e-12)
            }, "gradient of row \(row)")
        }
    }

    @Test(arguments: ISA.runnable)
    func crossEntropyInDoubleAtTheEdges(isa: ISA) {
        let x: [Float] = [0, .nan, 1, -.infinity, 2, 2, -.infinity, 0, -800]
        var lse = [0.0, 0, 0], losses = lse
        lens_cross_entropy_double(isa.pointer, 3, 3, x, [0, 1, 2], &lse, &losses)
        #expect(losses[0].isNaN)
        #expect(abs(losses[1] - log(2.0)) < 1e-15)
        #expect(losses[2] == 800)
        var gradient = [Float](repeating: 0, count: 9)
        lens_cross_entropy_double_gradient(isa.pointer, 3, 3, x, [0, 1, 2], lse, [1, 1, 1], &gradient)
        #expect(gradient[0].isNaN && gradient[1].isNaN && gradient[2].isNaN)
        #expect(Array(gradient[3...8]) == [0, -0.5, 0.5, 0, 1, -1])
    }
}
