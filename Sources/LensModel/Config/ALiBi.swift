// Attention with linear biases: how fast each head's scores fall with distance. The rules agree where the number of heads is
// a power of two, and only there.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Linear biases on attention scores (Press et al., 2022): slope · (key position - query position).
public enum ALiBi: Sendable, Hashable {
    /// 2^(-8 (h + 1) / heads) for head h: TransformerLens' rule.
    case geometric
    /// The paper's for other numbers of heads: the sequence of the power of two below, then every second member of the one
    /// above. Checkpoints were trained with this one (`build_alibi_tensor` in Hugging Face).
    case interpolated
    /// MPT's: 2^(-biasMax (i + 1) / n) for the power of two n above, every second member first (`build_mpt_alibi_tensor`).
    case mpt(biasMax: Double)
    /// Falcon-RW's: the interpolated slopes and their products with key positions rounded to bfloat16, and scaled as scores
    /// are (`build_alibi_tensor` of Falcon). The rounding is part of the model: what is added is bias(key), not slope · distance.
    case roundedKeys

    /// One slope for each head: `[heads]`, above zero.
    func slopes(heads: Int) -> [Float] {
        func member(_ index: Int, of count: Int, _ most: Double = 8) -> Float { Float(pow(2, -most * Double(index) / Double(count))) }
        var power = 1
        while power * 2 <= heads { power *= 2 }
        switch self {
        case .geometric: return (1...heads).map { member($0, of: heads) }
        case .interpolated, .roundedKeys:
            return (1...power).map { member($0, of: power) } + (0..<heads - power).map { member(2 * $0 + 1, of: 2 * power) }
        case .mpt(let most):
            if power == heads { return (1...heads).map { member($0, of: heads, most) } }
            let order = Array(stride(from: 2, through: 2 * power, by: 2)) + Array(stride(from: 1, through: 2 * power, by: 2))
            return order.prefix(heads).map { member($0, of: 2 * power, most) }
        }
    }
}
