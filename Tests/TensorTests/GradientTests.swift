// Reverse mode against central differences, computed with the same float32 operations at steps that suit them, and by
// hand where the answer is a short formula.

import LensFiles
import LensTensor
import LensTestSupport
import Testing

@Suite struct GradientTests {
    @Test func aTrackedTensorGetsTheGradientOfWhatIsComputedFromIt() throws {
        let x = try Tensor([1, 2, 3], shape: [3]).tracked()
        let square = try x * x
        let gradient = try gradients(of: square[1] + square[2], to: [x])[0]
        #expect(gradient.array == [0, 4, 6])
        #expect(!gradient.isTracked)
    }

    @Test func writtenElementsDependOnWhatWasWritten() throws {
        let x = try Tensor([1, 2, 3, 4], shape: [2, 2]).tracked(), y = Tensor(5).tracked()
        var z = try x * x
        z[.all, 1] = y
        let product = try z[0, 0] * z[0, 1] * z[1, 0] * z[1, 1]
        let found = try gradients(of: product, to: [x, y])
        // 1 · y · 9 · y
        let expected: [Float] = [450, 0, 150, 0]
        #expect(found[0].array == expected)
        #expect(found[1].array == [90 as Float])
    }

    @Test func aConstantHasNoGradientAndATensorUnusedHasZeros() throws {
        let x = Tensor(2).tracked(), y = Tensor(3).tracked()
        #expect(try gradients(of: x.detached() * y, to: [x, y]).map(\.array) == [[0], [2]])
        #expect(throws: LensError.self) { try gradients(of: x * y, to: [Tensor(1)]) }
        #expect(throws: LensError.self) { try gradients(of: Tensor([1, 2], shape: [2]).tracked(), to: [x]) }
    }

    @Test func longChainsNeedNoStack() throws {
        var x = Tensor(1).tracked()
        let first = x
        for _ in 0..<200_000 { x = try x + Tensor(0) }
        #expect(try gradients(of: x, to: [first])[0].array == [1])
    }
}
