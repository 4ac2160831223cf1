// How the values of a stored tensor are encoded, under safetensors' names.
// Sizes are per block of elements, because types of fewer than eight bits have no size per element.

/// The type of a stored tensor's elements. All are little-endian.
///
/// The raw value is safetensors' name for it; the order of the cases is safetensors' own (rising alignment).
public enum ElementType: String, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    /// One byte, 0 or 1.
    case bool = "BOOL"
    case f4 = "F4"
    case f6E2M3 = "F6_E2M3"
    case f6E3M2 = "F6_E3M2"
    case u8 = "U8"
    case i8 = "I8"
    case f8E5M2 = "F8_E5M2"
    case f8E4M3 = "F8_E4M3"
    case f8E8M0 = "F8_E8M0"
    case f8E4M3FNUZ = "F8_E4M3FNUZ"
    case f8E5M2FNUZ = "F8_E5M2FNUZ"
    case i16 = "I16"
    case u16 = "U16"
    case f16 = "F16"
    case bf16 = "BF16"
    case i32 = "I32"
    case u32 = "U32"
    case f32 = "F32"
    /// Two F32: real part, imaginary part.
    case c64 = "C64"
    case f64 = "F64"
    case i64 = "I64"
    case u64 = "U64"

    public var description: String { rawValue }

    /// The fewest elements that fill whole bytes: 1 but for the types below eight bits.
    public var elementsPerBlock: Int {
        switch self {
        case .f4: return 2
        case .f6E2M3, .f6E3M2: return 4
        default: return 1
        }
    }

    /// The bytes of one block of `elementsPerBlock` elements.
    public var bytesPerBlock: Int {
        switch self {
        case .bool, .f4, .u8, .i8, .f8E5M2, .f8E4M3, .f8E8M0, .f8E4M3FNUZ, .f8E5M2FNUZ: return 1
        case .i16, .u16, .f16, .bf16: return 2
        case .f6E2M3, .f6E3M2: return 3
        case .i32, .u32, .f32: return 4
        case .c64, .f64, .i64, .u64: return 8
        }
    }

    /// The bytes of `count` elements; nil if they end inside a byte or there are too many to count.
    public func byteCount(_ count: Int) -> Int? {
        guard count >= 0, count % elementsPerBlock == 0 else { return nil }
        let (bytes, overflow) = (count / elementsPerBlock).multipliedReportingOverflow(by: bytesPerBlock)
        return overflow ? nil : bytes
    }

    /// Position in the order safetensors writes types in, the last first.
    var alignmentRank: Int { Self.ranks[self] ?? 0 }

    private static let ranks = Dictionary(uniqueKeysWithValues: zip(allCases, 0...))
}
