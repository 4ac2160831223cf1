// What the results of analyses have in common: they print, and they can be written as JSON or as tensors with labels.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// The result of an analysis.
public protocol AnalysisResult: Sendable {
    /// Everything it says, as one JSON document. `token` gives a token's text.
    func json(_ token: (Int) throws -> String) throws -> JSON
    /// The raw numbers by name, for `.npz` or `.safetensors`.
    var tensors: [(name: String, tensor: Tensor)] { get }
    /// What stands along axes of the tensors: `["component": ["embed", …]]`.
    var axisLabels: [(axis: String, labels: [String])] { get }
}

extension AnalysisResult {
    /// JSON with tokens as their numbers.
    public func json() throws -> JSON { try json { "\($0)" } }

    /// Writes the numbers to `path`, `.safetensors` (axis labels in its metadata, as JSON) or `.npz`.
    /// - Throws: `LensError(.usage)` for another ending, `(.file)` if it cannot be written.
    public func save(to path: String) throws {
        let contents = try tensors.map { name, tensor in
            try TensorContent(name, .f32, shape: tensor.shape) { write in try tensor.withUnsafeElements { try write(UnsafeRawBufferPointer($0)) } }
        }
        if path.hasSuffix(".safetensors") {
            var metadata: [String: String] = [:]
            for (axis, labels) in axisLabels { metadata["labels.\(axis)"] = try JSON.array(labels.map(JSON.string)).text() }
            try SafetensorsWriter.write(contents, metadata: metadata, to: path)
        } else if path.hasSuffix(".npz") {
            try NumPyWriter.write(npz: contents, to: path)
        } else {
            throw LensError(.usage, "output file of an unknown kind", at: path, expected: "a name ending in .safetensors or .npz")
        }
    }
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
