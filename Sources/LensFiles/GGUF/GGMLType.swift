// The element types of ggml tensors: names and block sizes (ggml's table of type traits). Plain types are read as they
// are; block-quantised ones are known by name and size here, and decoded elsewhere.

/// How the elements of a tensor in a GGUF file are encoded. The raw value is ggml's number.
public enum GGMLType: UInt32, Sendable, Hashable, CaseIterable, CustomStringConvertible {
    case f32 = 0, f16 = 1, q4_0 = 2, q4_1 = 3, q5_0 = 6, q5_1 = 7, q8_0 = 8, q8_1 = 9
    case q2_K = 10, q3_K = 11, q4_K = 12, q5_K = 13, q6_K = 14, q8_K = 15
    case iq2_XXS = 16, iq2_XS = 17, iq3_XXS = 18, iq1_S = 19, iq4_NL = 20, iq3_S = 21, iq2_S = 22, iq4_XS = 23
    case i8 = 24, i16 = 25, i32 = 26, i64 = 27, f64 = 28, iq1_M = 29, bf16 = 30
    case tq1_0 = 34, tq2_0 = 35, mxfp4 = 39, nvfp4 = 40, q1_0 = 41

    public var description: String { name.uppercased() }

    /// ggml's name: `q8_0`, `q4_K`.
    public var name: String {
        switch self {
        case .f32: "f32"; case .f16: "f16"; case .bf16: "bf16"; case .f64: "f64"
        case .i8: "i8"; case .i16: "i16"; case .i32: "i32"; case .i64: "i64"
        case .q4_0: "q4_0"; case .q4_1: "q4_1"; case .q5_0: "q5_0"; case .q5_1: "q5_1"; case .q8_0: "q8_0"; case .q8_1: "q8_1"
        case .q2_K: "q2_K"; case .q3_K: "q3_K"; case .q4_K: "q4_K"; case .q5_K: "q5_K"; case .q6_K: "q6_K"; case .q8_K: "q8_K"
        case .iq2_XXS: "iq2_xxs"; case .iq2_XS: "iq2_xs"; case .iq3_XXS: "iq3_xxs"; case .iq1_S: "iq1_s"
        case .iq4_NL: "iq4_nl"; case .iq3_S: "iq3_s"; case .iq2_S: "iq2_s"; case .iq4_XS: "iq4_xs"; case .iq1_M: "iq1_m"
        case .tq1_0: "tq1_0"; case .tq2_0: "tq2_0"; case .mxfp4: "mxfp4"; case .nvfp4: "nvfp4"; case .q1_0: "q1_0"
        }
    }

    /// The plain type it is; nil if its elements are quantised in blocks.
    public var plain: ElementType? {
        switch self {
        case .f32: .f32
        case .f16: .f16
        case .bf16: .bf16
        case .f64: .f64
        case .i8: .i8
        case .i16: .i16
        case .i32: .i32
        case .i64: .i64
        default: nil
        }
    }

    /// Elements of one block, and the bytes they take.
    public var block: (elements: Int, bytes: Int) {
        switch self {
        case .f32, .i32: (1, 4)
        case .f16, .bf16, .i16: (1, 2)
        case .f64, .i64: (1, 8)
        case .i8: (1, 1)
        case .q4_0, .iq4_NL: (32, 18)
        case .q4_1: (32, 20)
        case .q5_0: (32, 22)
        case .q5_1: (32, 24)
        case .q8_0: (32, 34)
        // Two halves of scale and sum, then 32 bytes, in ggml; gguf-py says 40, from before they were halves.
        case .q8_1: (32, 36)
        case .q2_K: (256, 84)
        case .q3_K, .iq3_S: (256, 110)
        case .q4_K: (256, 144)
        case .q5_K: (256, 176)
        case .q6_K: (256, 210)
        case .q8_K: (256, 292)
        case .iq2_XXS, .tq2_0: (256, 66)
        case .iq2_XS: (256, 74)
        case .iq3_XXS: (256, 98)
        case .iq1_S: (256, 50)
        case .iq2_S: (256, 82)
        case .iq4_XS: (256, 136)
        case .iq1_M: (256, 56)
        case .tq1_0: (256, 54)
        case .mxfp4: (32, 17)
        case .nvfp4: (64, 36)
        case .q1_0: (128, 18)
        }
    }
}
