// A checkpoint in several files: an index (`model.safetensors.index.json`) maps each tensor to the file that holds it.
// File names in an index are not trusted: one that could lead out of the index's folder is refused.

/// The tensors of several files, listed by an index of `{"metadata": …, "weight_map": {tensor: file}}`.
public struct ShardedTensors: TensorSource {
    public let location: String
    /// In the order of the index.
    public let names: [String]
    /// The index's `metadata` (`total_size`, in bytes, as its writer counted); not checked.
    public let metadata: JSON
    /// The files, in the order the index first names them.
    public let shards: [any TensorSource]
    private let shardOf: [ExactString: Int]

    /// Opens the index at `indexPath` and every file it names, and checks that each holds what the index says.
    /// - Parameter open: opens one shard at a path; safetensors unless told otherwise.
    /// - Throws: `LensError` that names the file or the tensor.
    public init(indexPath: String, open: (String) throws -> any TensorSource = { try SafetensorsFile(path: $0) }) throws {
        let index = try JSON.parse(file: indexPath, limit: SafetensorsFile.longestHeader)
        guard let map = index["weight_map"] else {
            throw LensError(.format, "checkpoint index without a weight_map", at: indexPath)
        }
        let slash = indexPath.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = slash.map { String(indexPath[...$0]) } ?? ""
        var shards: [any TensorSource] = []
        var positions: [ExactString: Int] = [:]
        var shardOf: [ExactString: Int] = [:]
        let fields = try map.asObject(at: "\(indexPath): weight_map")
        for (tensor, value) in fields.pairs {
            let name = try value.asString(at: "\(indexPath): weight_map.\(tensor)")
            let position: Int
            if let known = positions[ExactString(name)] {
                position = known
            } else {
                position = shards.count
                shards.append(try Self.openShard(name, folder: folder, indexPath: indexPath, open))
                positions[ExactString(name)] = position
            }
            guard shards[position].entry(tensor) != nil else {
                throw LensError(.weights, "tensor missing from its file", at: "\(indexPath): \(tensor)",
                                expected: "in \(name)", advice: "the index and the files do not belong together")
            }
            shardOf[ExactString(tensor)] = position
        }
        self.location = indexPath
        self.names = fields.keys
        self.metadata = index["metadata"] ?? .null
        self.shards = shards
        self.shardOf = shardOf
    }

    public func entry(_ name: String) -> TensorEntry? { shardOf[ExactString(name)].flatMap { shards[$0].entry(name) } }

    public func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let position = shardOf[ExactString(name)] else {
            _ = try requireEntry(name)
            return
        }
        try shards[position].read(name, elementOffset: elementOffset, elementCount: elementCount, into: buffer)
    }

    public func blockType(_ name: String) -> GGMLType? { shardOf[ExactString(name)].flatMap { shards[$0].blockType(name) } }

    public func readBlocks(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let position = shardOf[ExactString(name)] else {
            _ = try requireEntry(name)
            return
        }
        try shards[position].readBlocks(name, elementOffset: elementOffset, elementCount: elementCount, into: buffer)
    }

    private static func openShard(_ name: String, folder: String, indexPath: String,
                                  _ open: (String) throws -> any TensorSource) throws -> any TensorSource {
        let bytes = Array(name.utf8)
        let isPlain = !bytes.isEmpty && bytes.count <= 255 && !bytes.contains(UInt8(ascii: "/"))
            && !bytes.contains(UInt8(ascii: "\\")) && !bytes.contains { $0 < 0x20 } && name != "." && name != ".."
        guard isPlain else {
            throw LensError(.format, "file name that a checkpoint index must not hold", at: indexPath,
                            expected: "a plain name beside the index", found: "\"\(name.prefix(100))\"")
        }
        do {
            return try open(folder + name)
        } catch let error as LensError where error.kind == .file {
            var error = error
            error.what = "cannot open a file of a checkpoint: " + error.what
            error.advice = "all files that \(indexPath) names must be beside it"
            throw error
        }
    }
}
