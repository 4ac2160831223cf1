// What every kernel suite needs: the instruction sets this machine runs, and thread counts.
import CLensKernels
import LensTestSupport
import Testing

/// One instruction set, as a test argument.
struct ISA: @unchecked Sendable, CustomTestStringConvertible {
    let pointer: OpaquePointer

    var name: String { String(cString: lens_isa_name(pointer)) }
    var testDescription: String { name }

    var arithmetic: ContractArithmetic { ContractArithmetic(fused: name != "portable") }

    /// exp, as every softmax takes it.
    func exp(_ x: [Float]) -> [Float] {
        var out = x
        lens_activation(pointer, LENS_ACT_EXP, Int64(x.count), x, &out)
        return out
    }

    static let all = (0..<lens_isa_count()).map { ISA(pointer: lens_isa_at($0)!) }
    static let everyRunnable = all.filter { lens_isa_runnable($0.pointer) }
    /// Those that differ in more than how rounded activations are multiplied.
    static let runnable = everyRunnable.filter { !$0.name.hasSuffix("vnni") }
    /// The sets with a fused multiply-add, which must agree to the bit.
    static let fused = runnable.filter { $0.name != "portable" }
}

/// The lengths row kernels are tried at: empty, one, around a vector, odd and long.
let rowLengths = [0, 1, 7, 8, 15, 16, 17, 31, 64, 1031]

/// Runs `body` with one and with two threads, in that order, and gives both results. The setting is process-wide; other
/// suites may run meanwhile, and may not notice.
func withOneAndTwoThreads<R>(_ body: () throws -> R) rethrows -> (R, R) {
    defer { lens_set_threads(0) }
    lens_set_threads(1)
    let one = try body()
    lens_set_threads(2)
    return (one, try body())
}
