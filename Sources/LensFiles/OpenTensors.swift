// From a path to its tensors: which format a file's name stands for.

/// Opens the tensors at `path`: a `.safetensors`, `.gguf`, `.npz` or `.npy` file, or the `.safetensors.index.json` of several.
/// - Throws: `LensError`: `.file` for other names or a file that cannot be read, else what the format's reader throws.
public func openTensors(at path: String) throws -> any TensorSource {
    if path.hasSuffix(".safetensors") { return try SafetensorsFile(path: path) }
    if path.hasSuffix(".safetensors.index.json") { return try ShardedTensors(indexPath: path) }
    if path.hasSuffix(".gguf") { return try GGUFFile(path: path) }
    if path.hasSuffix(".npz") { return try NumPyFile(npz: path) }
    if path.hasSuffix(".npy") { return try NumPyFile(npy: path) }
    throw LensError(.file, "tensor file of an unknown kind", at: path,
                    expected: ".safetensors, .safetensors.index.json, .gguf, .npz or .npy")
}
