// Attention with linear biases: how fast each head's scores fall with distance. Two rules agree where the number of heads is
// a power of two, and only there.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Linear biases on attention scores (Press et al., 2022): slope · (key position - query position).
public enum ALiBi: String, Sendable, Hashable {
    /// 2^(-8 (h + 1) / heads) for head h: TransformerLens' rule.
    case geometric
    /// The paper's for other numbers of heads: the sequence of the power of two below, then every second member of the one
    /// above. Checkpoints were trained with this one (`build_alibi_tensor` in Hugging Face).
    case interpolated

    /// One slope for each head: `[heads]`, above zero.
    func slopes(heads: Int) -> [Float] {
        func member(_ index: Int, of count: Int) -> Float { Float(pow(2, -8 * Double(index) / Double(count))) }
        guard self == .interpolated else { return (1...heads).map { member($0, of: heads) } }
        var power = 1
        while power * 2 <= heads { power *= 2 }
        return (1...power).map { member($0, of: power) } + (0..<heads - power).map { member(2 * $0 + 1, of: 2 * power) }
    }
}
