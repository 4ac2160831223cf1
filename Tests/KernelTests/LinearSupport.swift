// A matrix product as tests ask for it: inputs, ranges, epilogue, and the call.
import CLensKernels
import LensTestSupport
import Testing

/// A packed matrix with guard words after it.
final class PackedWeights {
    let storage: GuardedFloats
    var matrix: lens_matrix

    init(_ format: lens_format, k: Int, n: Int) {
        // A panel is a whole number of cache lines in every format.
        storage = GuardedFloats([Float](repeating: 0, count: Int(lens_packed_bytes(format, Int64(k), Int64(n))) / 4))
        matrix = lens_matrix(format: format, k: Int64(k), n: Int64(n), data: storage.base)
    }

    deinit { storage.expectIntact("packed") }

    /// Packs `w: [k, n]`, row-major.
    func pack(_ w: [Float]) { lens_pack(&matrix, 0, matrix.k, 0, matrix.n, w, LENS_F32, matrix.n, 1) }

    /// Packs ggml's blocks, all of them.
    func packBlocks(_ blocks: [UInt8]) { lens_pack_blocks(&matrix, 0, matrix.n, blocks) }

    /// The values, `[k, n]`.
    func values(_ isa: ISA) -> [Float] {
        let out = GuardedFloats(Int(matrix.k * matrix.n))
        lens_unpack(isa.pointer, &matrix, 0, matrix.k, 0, matrix.n, out.base, matrix.n, 1)
        out.expectIntact()
        return out.values
    }
}

/// One lens_linear problem with m rows, a packed [k, n] matrix, and everything that may ride on it.
struct LinearCase: Sendable {
    var m: Int, k: Int, n: Int
    var kRange: Range<Int>, nRange: Range<Int>
    var block = Int(LENS_K_BLOCK)
    var x: [Float] // [m, kRange.count]
    var w: [Float] // [k, n]
    var epilogue = ReferenceEpilogue()

    init(m: Int, k: Int, n: Int, seed: UInt64 = 7, kRange: Range<Int>? = nil, nRange: Range<Int>? = nil) {
        var random = SeededRandom(seed)
        (self.m, self.k, self.n) = (m, k, n)
        self.kRange = kRange ?? 0..<k
        self.nRange = nRange ?? 0..<n
        x = random.floats(m * self.kRange.count)
        w = random.floats(k * n)
    }

    /// The same problem for one row.
    func row(_ i: Int) -> LinearCase {
        var one = self
        one.m = 1
        one.x = Array(x[(i * kRange.count)..<((i + 1) * kRange.count)])
        one.epilogue.gate = epilogue.gate.map { Array($0[(i * n)..<((i + 1) * n)]) }
        one.epilogue.residual = epilogue.residual.map { Array($0[(i * n)..<((i + 1) * n)]) }
        return one
    }

    struct Outputs { var out: [Float] = [], linear: [Float] = [] }

    /// How the weights are kept; `w` is what is packed.
    var format = LENS_FORMAT_F32
    /// Whether x is rounded to eight bits: lens_linear_int8.
    var isRounded = false

    /// The weights, packed row by row.
    func packed() -> PackedWeights {
        let packed = PackedWeights(format, k: k, n: n)
        packed.pack(w)
        return packed
    }

    /// The wanted columns of out and linear_out (empty where not asked for). Guards and other columns are checked.
    func run(_ isa: ISA, _ given: PackedWeights? = nil, out wantsOut: Bool = true, linear wantsLinear: Bool = false,
             aliasing: Bool = false) -> Outputs {
        let packed = given ?? packed(), width = kRange.count
        let start = aliasing ? (epilogue.residual ?? epilogue.gate) : nil
        let out = start.map { GuardedFloats($0) } ?? GuardedFloats(m * n), linear = GuardedFloats(m * n)
        let pad = { (a: [Float]?) in a ?? [] }
        let (bias, gate, residual) = (pad(epilogue.bias), pad(epilogue.gate), pad(epilogue.residual))
        bias.withUnsafeBufferPointer { bias in
            gate.withUnsafeBufferPointer { gate in
                residual.withUnsafeBufferPointer { residual in
                    var e = lens_epilogue()
                    e.act = lens_act(UInt32(epilogue.activation.rawValue))
                    e.bias = epilogue.bias == nil ? nil : bias.baseAddress
                    e.gate = epilogue.gate == nil ? nil : gate.baseAddress
                    e.residual = epilogue.residual == nil ? nil : residual.baseAddress
                    if aliasing {
                        if e.residual != nil { e.residual = UnsafePointer(out.base) }
                        else { e.gate = UnsafePointer(out.base) }
                    }
                    e.linear_out = wantsLinear ? linear.base : nil
                    let ks = (Int64(kRange.lowerBound), Int64(kRange.upperBound)), ns = (Int64(nRange.lowerBound), Int64(nRange.upperBound))
                    let to = wantsOut ? out.base : nil
                    guard isRounded else {
                        lens_linear(isa.pointer, Int64(m), &packed.matrix, ks.0, ks.1, ns.0, ns.1, Int64(block), x, Int64(width), to, Int64(n), &e)
                        return
                    }
                    let scratch = GuardedFloats(Int(lens_int8_scratch(packed.matrix.format, Int64(m), ks.0, ks.1, Int64(block))))
                    lens_linear_int8(isa.pointer, Int64(m), &packed.matrix, ks.0, ks.1, ns.0, ns.1, Int64(block), x, Int64(width), to, Int64(n),
                                     &e, scratch.base)
                    scratch.expectIntact("scratch")
                }
            }
        }
        var outputs = Outputs()
        for (wanted, buffer, key) in [(wantsOut, out, \Outputs.out), (wantsLinear, linear, \Outputs.linear)] {
            buffer.expectIntact("\(self.shape)")
            if !aliasing || buffer === linear {
                buffer.expectUntouched(rows: m, stride: n, column: nRange.lowerBound,
                                       width: wanted ? nRange.count : 0, "\(self.shape)")
            }
            if wanted {
                outputs[keyPath: key] = buffer.rows(m, stride: n, column: nRange.lowerBound, width: nRange.count)
            }
        }
        return outputs
    }

    var shape: String { "m \(m) k \(kRange) of \(k) n \(nRange) of \(n) block \(block)" }

    /// References for the wanted columns: x·W + bias, and the whole epilogue.
    func reference() -> (linear: [Expected], out: [Expected]) {
        let columns = nRange.count
        let cut = { (a: [Float]?) in
            a.map { a in (0..<m).flatMap { i in a[(i * n + nRange.lowerBound)..<(i * n + nRange.upperBound)] } }
        }
        let weights = kRange.flatMap { i in w[(i * n + nRange.lowerBound)..<(i * n + nRange.upperBound)] }
        var e = epilogue
        e.bias = epilogue.bias.map { Array($0[nRange]) }
        e.gate = cut(epilogue.gate)
        e.residual = cut(epilogue.residual)
        let product = referenceProduct(x, weights, m: m, k: kRange.count, n: columns)
        let linear = e.linear(product, n: max(columns, 1))
        return (linear, e(linear))
    }
}
