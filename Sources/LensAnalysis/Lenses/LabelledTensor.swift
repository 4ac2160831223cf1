// What analyses write: tensors and the labels of their axes. In .safetensors the labels are the metadata's `labels`, JSON of
// {tensor: [[labels of axis 0], …]}, an empty list for an axis without; in .npz, which holds numbers only, the same JSON is
// the bytes (U8) of `labels`.

import LensFiles
import LensTensor

/// Numbers with the labels of each axis.
public struct LabelledTensor: Sendable {
    public let name: String
    public let tensor: Tensor
    /// What stands along each axis, from the first on; an empty list, or none, for an axis whose places have no names.
    public let labels: [[String]]

    public init(_ name: String, _ tensor: Tensor, _ labels: [String]...) { self.init(name: name, tensor: tensor, labels: labels) }

    public init(name: String, tensor: Tensor, labels: [[String]]) {
        self.name = name
        self.tensor = tensor
        self.labels = labels
    }

    /// Writes tensors with their labels to `path`, a `.safetensors` or `.npz` file.
    /// - Throws: `LensError(.usage)` for another ending, `(.shape)` for labels that do not fit their axis, `(.file)` if it
    ///   cannot be written; an older file is then left as it was.
    public static func write(_ tensors: [LabelledTensor], to path: String) throws {
        for labelled in tensors {
            let sizes = labelled.tensor.shape, counts = labelled.labels.map(\.count)
            guard counts.count <= sizes.count, zip(counts, sizes).allSatisfy({ $0 == 0 || $0 == $1 }) else {
                throw LensError(.shape, "labels do not fit a tensor", at: labelled.name, expected: "\(sizes) of them", found: "\(counts)")
            }
        }
        let labels: JSON = .object(JSONObject(tensors.map { ($0.name, .array($0.labels.map { .array($0.map(JSON.string)) })) }))
        var contents = try tensors.map { labelled in
            try TensorContent(labelled.name, .f32, shape: labelled.tensor.shape) { write in
                try labelled.tensor.withUnsafeElements { try write(UnsafeRawBufferPointer($0)) }
            }
        }
        if path.hasSuffix(".safetensors") {
            try SafetensorsWriter.write(contents, metadata: ["labels": labels.text()], to: path)
        } else if path.hasSuffix(".npz") {
            let bytes = try labels.utf8()
            contents.append(try TensorContent("labels", .u8, shape: [bytes.count], bytes: bytes))
            try NumPyWriter.write(npz: contents, to: path)
        } else {
            throw LensError(.usage, "output file of an unknown kind", at: path, expected: "a name ending in .safetensors or .npz")
        }
    }
}
