// Blocks of ggml's quantised types as float32, exactly as ggml defines them (`dequantize_row_*` in ggml-quants.c): every
// product and sum is rounded to float32, in ggml's order, none fused. A block is read where it lies, at any alignment.

extension GGMLType {
    /// Whether `decode` knows the type.
    public var isDecodable: Bool {
        switch self {
        case .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .q2_K, .q3_K, .q4_K, .q5_K, .q6_K: true
        default: false
        }
    }

    /// Decodes `count` blocks from `source` on to `block.elements` numbers each. The caller answers for both buffers.
    /// - Throws: `LensError(.weights)` for a type that is not decoded.
    public func decode(_ source: UnsafeRawPointer, blocks count: Int, to target: UnsafeMutablePointer<Float>) throws {
        let (elements, bytes) = block
        func each(_ body: (GGMLBlock, UnsafeMutablePointer<Float>) -> Void) {
            for index in 0..<count { body(GGMLBlock(base: source + index * bytes), target + index * elements) }
        }
        switch self {
        case .q8_0: each { $0.q8_0($1) }
        case .q4_0: each { $0.q4_0($1) }
        case .q4_1: each { $0.q4_1($1) }
        case .q5_0: each { $0.q5_0($1) }
        case .q5_1: each { $0.q5_1($1) }
        case .q2_K: each { $0.q2_K($1) }
        case .q3_K: each { $0.q3_K($1) }
        case .q4_K: each { $0.q4_K($1) }
        case .q5_K: each { $0.q5_K($1) }
        case .q6_K: each { $0.q6_K($1) }
        default:
            throw LensError(.weights, "quantisation that is not decoded", expected: "Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K or Q6_K",
                            found: "\(self)")
        }
    }
}

/// One block. Each method writes its elements.
private struct GGMLBlock {
    let base: UnsafeRawPointer

    @inline(__always)
    private func byte(_ at: Int) -> UInt8 { base.load(fromByteOffset: at, as: UInt8.self) }

    /// A number of two bytes.
    @inline(__always)
    private func half(_ at: Int) -> Float { Float(Float16(bitPattern: UInt16(byte(at)) | UInt16(byte(at + 1)) &<< 8)) }

    // MARK: 32 elements: the low halves of 16 bytes are the first sixteen, the high halves the rest.

    func q8_0(_ y: UnsafeMutablePointer<Float>) {
        let d = half(0)
        for i in 0..<32 { y[i] = Float(Int8(bitPattern: byte(2 + i))) * d }
    }

    func q4_0(_ y: UnsafeMutablePointer<Float>) {
        let d = half(0)
        for i in 0..<16 {
            let q = byte(2 + i)
            y[i] = d * Float(Int(q & 15) - 8)
            y[i + 16] = d * Float(Int(q &>> 4) - 8)
        }
    }

    func q4_1(_ y: UnsafeMutablePointer<Float>) {
        let d = half(0), m = half(2)
        for i in 0..<16 {
            let q = byte(4 + i)
            y[i] = d * Float(q & 15) + m
            y[i + 16] = d * Float(q &>> 4) + m
        }
    }

    /// Fifth bits of all 32 elements, from byte `at` on.
    @inline(__always)
    private func fifthBits(_ at: Int) -> UInt32 {
        UInt32(byte(at)) | UInt32(byte(at + 1)) &<< 8 | UInt32(byte(at + 2)) &<< 16 | UInt32(byte(at + 3)) &<< 24
    }

    func q5_0(_ y: UnsafeMutablePointer<Float>) {
        let d = half(0), high = fifthBits(2)
        for i in 0..<16 {
            let q = byte(6 + i)
            y[i] = d * Float(Int(q & 15) + Int(high &>> UInt32(i) & 1) * 16 - 16)
            y[i + 16] = d * Float(Int(q &>> 4) + Int(high &>> UInt32(i + 16) & 1) * 16 - 16)
        }
    }

    func q5_1(_ y: UnsafeMutablePointer<Float>) {
        let d = half(0), m = half(2), high = fifthBits(4)
        for i in 0..<16 {
            let q = byte(8 + i)
            y[i] = d * Float(Int(q & 15) + Int(high &>> UInt32(i) & 1) * 16) + m
            y[i + 16] = d * Float(Int(q &>> 4) + Int(high &>> UInt32(i + 16) & 1) * 16) + m
        }
    }

    // MARK: 256 elements, in groups of 16 or 32 with scales of their own.

    /// 16 bytes of scale (low half) and minimum (high half), 64 of elements, d, dmin.
    func q2_K(_ y: UnsafeMutablePointer<Float>) {
        let d = half(80), dmin = half(82)
        for group in 0..<16 {
            let scale = byte(group), dl = d * Float(scale & 15), ml = dmin * Float(scale &>> 4)
            // Half a run of 32 bytes, two bits of each.
            let from = 16 + group / 8 * 32 + group % 2 * 16, shift = UInt8(group % 8 / 2 * 2)
            for i in 0..<16 { y[group * 16 + i] = dl * Float(byte(from + i) &>> shift & 3) - ml }
        }
    }

    /// 32 bytes of third bits, 64 of elements, 12 of scales of six bits, d.
    func q3_K(_ y: UnsafeMutablePointer<Float>) {
        let d = half(108)
        for group in 0..<16 {
            let low = byte(96 + group % 8) &>> UInt8(group / 8 * 4) & 15, high = byte(104 + group % 4) &>> UInt8(group / 4 * 2) & 3
            let dl = d * Float(Int(low | high << 4) - 32)
            let from = 32 + group / 8 * 32 + group % 2 * 16, shift = UInt8(group % 8 / 2 * 2), mask = UInt8(1) &<< UInt8(group / 2)
            for i in 0..<16 {
                // Four is taken off where the bit is not set.
                let offset = byte(group % 2 * 16 + i) & mask == 0 ? 4 : 0
                y[group * 16 + i] = dl * Float(Int(byte(from + i) &>> shift & 3) - offset)
            }
        }
    }

    /// Scale and minimum of group `j` of eight, six bits each, in twelve bytes from the fourth on.
    @inline(__always)
    private func scaleAndMinimum(_ j: Int) -> (UInt8, UInt8) {
        if j < 4 { return (byte(4 + j) & 63, byte(8 + j) & 63) }
        return (byte(8 + j) & 15 | (byte(j) &>> 6) << 4, byte(8 + j) &>> 4 | (byte(4 + j) &>> 6) << 4)
    }

    /// d, dmin, 12 bytes of scales and minima, 128 of elements.
    func q4_K(_ y: UnsafeMutablePointer<Float>) {
        let d = half(0), dmin = half(2)
        for group in 0..<8 {
            let (scale, minimum) = scaleAndMinimum(group), dl = d * Float(scale), ml = dmin * Float(minimum)
            let from = 16 + group / 2 * 32, shift = UInt8(group % 2 * 4)
            for i in 0..<32 { y[group * 32 + i] = dl * Float(byte(from + i) &>> shift & 15) - ml }
        }
    }

    /// d, dmin, 12 bytes of scales and minima, 32 of fifth bits, 128 of elements.
    func q5_K(_ y: UnsafeMutablePointer<Float>) {
        let d = half(0), dmin = half(2)
        for group in 0..<8 {
            let (scale, minimum) = scaleAndMinimum(group), dl = d * Float(scale), ml = dmin * Float(minimum)
            let from = 48 + group / 2 * 32, shift = UInt8(group % 2 * 4)
            for i in 0..<32 {
                let q = byte(from + i) &>> shift & 15 | (byte(16 + i) &>> UInt8(group) & 1) << 4
                y[group * 32 + i] = dl * Float(q) - ml
            }
        }
    }

    /// 128 bytes of low halves, 64 of two high bits, 16 signed scales, d.
    func q6_K(_ y: UnsafeMutablePointer<Float>) {
        let d = half(208)
        for group in 0..<16 {
            let dl = d * Float(Int8(bitPattern: byte(192 + group)))
            // Within a half of 128 elements: runs of 32, the first two in low halves, the others in high ones.
            let (part, run, first) = (group / 8, group % 8 / 2, group % 2 * 16)
            let low = part * 64 + run % 2 * 32 + first, lowShift = UInt8(run / 2 * 4), high = 128 + part * 32 + first, highShift = UInt8(run * 2)
            for i in 0..<16 {
                let q = byte(low + i) &>> lowShift & 15 | (byte(high + i) &>> highShift & 3) << 4
                y[group * 16 + i] = dl * Float(Int(q) - 32)
            }
        }
    }
}
