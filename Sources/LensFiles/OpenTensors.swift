// From a path to its tensors: which format a file's name stands for.

/// Opens the tensors at `path`: a `.safetensors`, `.gguf`, `.npz` or `.npy` file, what torch.save wrote (`.pt`, `.pth`, `.bin`,
/// `.ckpt`), or the `.safetensors.index.json` or `.bin.index.json` of several.
/// - Throws: `LensError`: `.file` for other names or a file that cannot be read, else what the format's reader throws.
public func openTensors(at path: String) throws -> any TensorSource {
    if path.hasSuffix(".safetensors") { return try SafetensorsFile(path: path) }
    if path.hasSuffix(".safetensors.index.json") { return try ShardedTensors(indexPath: path) }
    if path.hasSuffix(".gguf") { return try GGUFFile(path: path) }
    if path.hasSuffix(".npz") { return try NumPyFile(npz: path) }
    if path.hasSuffix(".npy") { return try NumPyFile(npy: path) }
    if path.hasSuffix(".bin.index.json") { return try ShardedTensors(indexPath: path) { try PyTorchFile(path: $0) } }
    if [".pt", ".pth", ".bin", ".ckpt"].contains(where: path.hasSuffix) { return try PyTorchFile(path: path) }
    throw LensError(.file, "tensor file of an unknown kind", at: path,
                    expected: ".safetensors, .gguf, .npz, .npy, .pt, .pth, .bin, or the .index.json of several")
}
