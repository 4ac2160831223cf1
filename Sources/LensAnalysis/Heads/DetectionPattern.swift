// The attention patterns that kinds of heads are known by: previous token, duplicate token, induction (Olsson et al. 2022,
// Wang et al. 2022); and patterns of one's own.

import LensFiles
import LensTensor

/// The attention that a kind of head is expected to pay: `[pos, pos]`, query by key.
public enum DetectionPattern: Sendable {
    /// To the token before.
    case previousTokenHead
    /// To earlier occurrences of the current token.
    case duplicateTokenHead
    /// To the token after an earlier occurrence of the current token.
    case inductionHead
    /// `[pos, pos]`, nothing above the diagonal.
    case custom(Tensor)

    /// TransformerLens' names of the three kinds.
    public static let headNames = ["previous_token_head", "duplicate_token_head", "induction_head"]

    /// One of the three kinds by TransformerLens' name.
    /// - Throws: `LensError(.name)` for another.
    public init(named name: String) throws {
        switch name {
        case "previous_token_head": self = .previousTokenHead
        case "duplicate_token_head": self = .duplicateTokenHead
        case "induction_head": self = .inductionHead
        default:
            throw LensError(.name, "detection_pattern must be a Tensor or one of head names: \(Self.headNames)", found: name)
        }
    }

    /// The pattern for a sequence: `[pos, pos]`, row-major.
    /// - Throws: `LensError(.shape)` for a custom pattern of another size or with anything above the diagonal.
    func elements(for tokens: [Int]) throws -> [Float] {
        let length = tokens.count
        func pattern(_ expects: (_ query: Int, _ key: Int) -> Bool) -> [Float] {
            (0..<length * length).map { place in
                let query = place / length, key = place % length
                return key <= query && expects(query, key) ? 1 : 0
            }
        }
        switch self {
        case .previousTokenHead: return pattern { $1 == $0 - 1 }
        case .duplicateTokenHead: return pattern { $0 != $1 && tokens[$0] == tokens[$1] }
        case .inductionHead: return pattern { $1 > 0 && $1 - 1 < $0 && tokens[$0] == tokens[$1 - 1] }
        case .custom(let tensor):
            let elements = tensor.array
            let fits = tensor.shape == [length, length]
                && elements.indices.allSatisfy { $0 % length <= $0 / length || elements[$0] == 0 }
            guard fits else {
                throw LensError(.shape, "The detection pattern must be a lower triangular matrix of shape (sequence_length, sequence_length)",
                                expected: "[\(length), \(length)], zeros above the diagonal", found: "\(tensor.shape)")
            }
            return elements
        }
    }
}

/// How a head's attention is compared with a detection pattern.
public enum ErrorMeasure: String, Sendable, Hashable, CaseIterable {
    /// 1 less the mean absolute difference (over elements, times the length), rounded to three digits.
    case abs
    /// The share of the attention that falls on the pattern.
    case mul
}
