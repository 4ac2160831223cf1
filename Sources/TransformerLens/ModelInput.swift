// What a run can start from: text, several texts, or tokens.

import LensFiles
import LensModel
import LensTensor

/// Something a model can run on: a `String`, `[String]` (a batch), `[Int]` (tokens), `[[Int]]` (a batch of tokens, which
/// may differ in length), or an `IntTensor` `[batch, pos]`.
public protocol ModelInput {
    /// As text or as tokens.
    var modelInput: ModelInputKind { get }
}

/// Text or tokens, one row or several.
public enum ModelInputKind: Sendable, ModelInput {
    case texts([String])
    case tokens([[Int]])

    public var modelInput: ModelInputKind { self }

    /// The rows of tokens; none of texts.
    public var rows: [[Int]] {
        if case .tokens(let rows) = self { return rows }
        return []
    }
}

/// What an array can hold to be a model's input.
public protocol ModelInputElement {
    static func modelInput(of elements: [Self]) -> ModelInputKind
}

extension String: ModelInput, ModelInputElement {
    public var modelInput: ModelInputKind { .texts([self]) }
    public static func modelInput(of elements: [String]) -> ModelInputKind { .texts(elements) }
}

extension Int: ModelInputElement {
    public static func modelInput(of elements: [Int]) -> ModelInputKind { .tokens([elements]) }
}

extension Array: ModelInput where Element: ModelInputElement {
    public var modelInput: ModelInputKind { Element.modelInput(of: self) }
}

extension Array: ModelInputElement where Element == Int {
    public static func modelInput(of elements: [[Int]]) -> ModelInputKind { .tokens(elements) }
}

extension IntTensor: ModelInput {
    public var modelInput: ModelInputKind { .tokens(rank == 1 ? [array] : rows) }
}
