// How weights are kept: float32, the two-byte types, and ggml's quantised blocks. A kept weight is a float32 value, exactly
// the one ggml's dequantisation gives; every product and lookup uses that value, whatever its shape.

import CLensKernels
import LensFiles

/// A format of packed weights. Raw values are ggml's names for them.
public enum WeightFormat: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case float32 = "f32"
    case bfloat16 = "bf16"
    case float16 = "f16"
    /// 8 bits and a scale for 32 weights.
    case q8_0
    /// 4 bits and a scale for 32 weights.
    case q4_0
    case q4_1
    case q5_0
    case q5_1
    case q2_K
    case q3_K
    case q4_K
    case q5_K
    case q6_K

    public var description: String { rawValue }

    /// Rows of a matrix that share a block: 1, 32 or 256. A matrix in this format has a multiple of them.
    public var blockRows: Int { Int(lens_format_rows(kernel)) }
    /// Bytes of one column's block.
    public var blockBytes: Int { Int(lens_format_bytes(kernel)) }
    /// Bits a weight takes, scales counted in.
    public var bitsPerWeight: Double { 8 * Double(blockBytes) / Double(blockRows) }
    /// Whether weights share scales: all but the plain types.
    public var isQuantized: Bool { blockRows > 1 }
    /// Whether plain numbers can be packed into it; the others come from files that hold their blocks.
    public var packsNumbers: Bool { !isQuantized || self == .q8_0 || self == .q4_0 }

    /// Formats that a model can be loaded in, whatever its file holds.
    public static var loadable: [WeightFormat] { allCases.filter(\.packsNumbers) }

    /// Whether a matrix of so many rows can be kept in it.
    public func fits(rows: Int) -> Bool { rows % blockRows == 0 }

    var kernel: lens_format {
        switch self {
        case .float32: return LENS_FORMAT_F32
        case .bfloat16: return LENS_FORMAT_BF16
        case .float16: return LENS_FORMAT_F16
        case .q8_0: return LENS_FORMAT_Q8_0
        case .q4_0: return LENS_FORMAT_Q4_0
        case .q4_1: return LENS_FORMAT_Q4_1
        case .q5_0: return LENS_FORMAT_Q5_0
        case .q5_1: return LENS_FORMAT_Q5_1
        case .q2_K: return LENS_FORMAT_Q2_K
        case .q3_K: return LENS_FORMAT_Q3_K
        case .q4_K: return LENS_FORMAT_Q4_K
        case .q5_K: return LENS_FORMAT_Q5_K
        case .q6_K: return LENS_FORMAT_Q6_K
        }
    }

    /// Bytes of a packed matrix, its last panel filled up.
    /// - Throws: `LensError(.shape)` for sizes no memory has.
    func byteCount(rows: Int, columns: Int) throws -> Int {
        let count = try checkedCount([rows, columns + Int(LENS_PANEL)])
        guard count <= Int.max / 8 else { throw LensError(.shape, "impossible shape", found: "[\(rows), \(columns)]") }
        return Int(lens_packed_bytes(kernel, Int64(rows), Int64(columns)))
    }
}

extension PackedMatrix.Element {
    /// The format that keeps such elements as they are; float32 for float64, which is rounded.
    public var format: WeightFormat {
        switch self {
        case .float32, .float64: return .float32
        case .float16: return .float16
        case .bfloat16: return .bfloat16
        }
    }
}
