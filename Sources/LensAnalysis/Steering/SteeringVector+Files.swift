// Steering vectors as files: safetensors, and the GGUF control vectors of llama.cpp (`general.architecture` is
// `controlvector`, tensors `direction.{layer}`), which repeng and llama.cpp's own tools read and write too.

import LensFiles
import LensHooks
import LensModel
import LensTensor

extension SteeringVector {
    /// Writes it to `path`: `.safetensors` or `.gguf`, tensors `direction.{layer}` of float32 in both.
    ///
    /// - Parameter modelHint: the model it was made for, as text (GGUF's `controlvector.model_hint`).
    /// - Throws: `LensError(.usage)` for another ending, or a direction for layer 0 in GGUF, which has no place for it.
    public func save(to path: String, modelHint: String = "") throws {
        let contents = try layers.compactMap { layer in
            try directions[layer].map { try TensorContent("direction.\(layer)", shape: $0.shape, $0.array) }
        }
        if path.hasSuffix(".safetensors") {
            try SafetensorsWriter.write(contents, metadata: ["format": "controlvector", "model_hint": modelHint], to: path)
        } else if path.hasSuffix(".gguf") {
            guard !layers.contains(0) else {
                throw LensError(.usage, "a GGUF control vector has no place for layer 0", at: path, expected: "layers from 1",
                                found: "\(layers)", advice: "leave layer 0 out, or save as .safetensors")
            }
            try GGUFWriter.write(contents.map { try GGUFContent($0) },
                                 metadata: [("general.architecture", .string("controlvector")), ("controlvector.model_hint", .string(modelHint)),
                                            ("controlvector.layer_count", .int(Int64(directions.count)))], to: path)
        } else {
            throw LensError(.usage, "steering vector file of an unknown kind", at: path, expected: "a name ending in .safetensors or .gguf")
        }
    }

    /// From a `.safetensors`, `.npz` or `.gguf` file with tensors `direction.{layer}`, `[d_model]` each.
    /// - Throws: `LensError(.format)` for a file that holds anything else, `(.file)`.
    public init(contentsOf path: String) throws {
        let source: any TensorSource
        if path.hasSuffix(".gguf") {
            let file = try GGUFFile(path: path)
            guard file["general.architecture"]?.stringValue == "controlvector" else {
                throw LensError(.format, "not a control vector", at: path, expected: "general.architecture controlvector",
                                found: file["general.architecture"]?.stringValue ?? "none")
            }
            source = file
        } else {
            source = try openTensors(at: path)
        }
        var directions: [Int: Tensor] = [:]
        for name in source.names {
            let parts = name.split(separator: ".", omittingEmptySubsequences: false)
            guard parts.count == 2, parts[0] == "direction", let layer = Int(parts[1]), layer >= 0 else {
                throw LensError(.format, "not a steering vector", at: "\(path): \(name)", expected: "tensors direction.{layer}")
            }
            let tensor = try Tensor(stored: name, in: source)
            // GGUF's writers may keep a row as a matrix of one row.
            directions[layer] = try tensor.reshaped([tensor.count])
        }
        do { try self.init(directions: directions) } catch let error as LensError { throw error.located(in: path) }
    }
}
