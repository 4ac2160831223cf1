// SeededRandom: the same numbers on every machine and every run (SplitMix64). Not for anything but tests.

public struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(_ seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A float in -1 ..< 1, a multiple of 2^-23.
    public mutating func unit() -> Float { Float(Int32(truncatingIfNeeded: next()) >> 8) * 0x1p-23 }

    /// `count` floats in -scale ..< scale.
    public mutating func floats(_ count: Int, scale: Float = 1) -> [Float] {
        var result = [Float](repeating: 0, count: count)
        for i in 0..<count { result[i] = unit() * scale }
        return result
    }

    /// `count` integers below `bound`.
    public mutating func ids(_ count: Int, below bound: Int) -> [Int32] {
        (0..<count).map { _ in Int32(next() % UInt64(bound)) }
    }
}
