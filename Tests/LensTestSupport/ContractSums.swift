// The sums of the kernels' numerical contract, step by step in Float, for tests that compare bits.

/// How an instruction set multiplies and adds: in one rounding, or in two.
public struct ContractArithmetic: Sendable {
    public var fused: Bool

    public init(fused: Bool) { self.fused = fused }

    public func multiplyAdd(_ a: Float, _ b: Float, _ c: Float) -> Float { fused ? c.addingProduct(a, b) : c + a * b }

    /// One chain from zero in ascending order.
    public func chain(_ a: [Float], _ b: [Float]) -> Float {
        var sum: Float = 0
        for i in 0..<a.count { sum = multiplyAdd(a[i], b[i], sum) }
        return sum
    }

    /// Chains of `block` terms, added in order, the first starting the total.
    public func blocks(_ a: [Float], _ b: [Float], of block: Int) -> Float {
        var total: Float?
        for begin in stride(from: 0, to: a.count, by: block) {
            let end = min(begin + block, a.count)
            let part = chain(Array(a[begin..<end]), Array(b[begin..<end]))
            total = total.map { $0 + part } ?? part
        }
        return total ?? 0
    }

    /// Sixteen lanes, element i in lane i % 16, then lane l += lane l+8, l+4, l+2, l+1.
    /// With `squares`, the sum of squares.
    public func lanes(_ x: [Float], squares: Bool = false) -> Float {
        var lane = [Float](repeating: 0, count: 16)
        for i in 0..<x.count { lane[i % 16] = squares ? multiplyAdd(x[i], x[i], lane[i % 16]) : lane[i % 16] + x[i] }
        for half in [8, 4, 2, 1] { for l in 0..<half { lane[l] += lane[l + half] } }
        return lane[0]
    }
}
