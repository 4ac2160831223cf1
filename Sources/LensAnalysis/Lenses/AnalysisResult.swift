// What the results of analyses have in common: they print, and they can be written as JSON or as tensors with labels.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// The result of an analysis.
public protocol AnalysisResult: Sendable {
    /// Everything it says, as one JSON document. `token` gives a token's text.
    func json(_ token: (Int) throws -> String) throws -> JSON
    /// The raw numbers by name, with what stands along their axes, for `.npz` or `.safetensors`.
    var tensors: [LabelledTensor] { get }
}

extension AnalysisResult {
    /// JSON with tokens as their numbers.
    public func json() throws -> JSON { try json { "\($0)" } }

    /// Writes the numbers with their labels to `path`, a `.safetensors` or `.npz` file (see `LabelledTensor`).
    /// - Throws: `LensError(.usage)` for another ending, `(.file)` if it cannot be written.
    public func save(to path: String) throws { try LabelledTensor.write(tensors, to: path) }
}

extension Tensor {
    /// Nested arrays of numbers; what is not finite is null.
    public var json: JSON {
        get throws {
            guard rank > 0 else { return Self.json(try item()) }
            if rank == 1 { return .array(array.map(Self.json)) }
            return .array(try (0..<shape[0]).map { try at(.at($0)).json })
        }
    }

    private static func json(_ value: Float) -> JSON { value.isFinite ? .double(Double(value)) : .null }
}
