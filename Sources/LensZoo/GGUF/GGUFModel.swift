// A GGUF file as a checkpoint of the family it was made from: its configuration, and its tensors under the family's names, the
// rows of rotated queries and keys back in their order.

import LensFiles
import LensModel

/// A model in a GGUF file.
struct GGUFModel: Sendable {
    let architecture: Architecture
    let config: ModelConfig
    let tensors: GGUFCheckpoint

    /// Tensors that are part of the configuration, or that nobody reads.
    private static let consumed: Set<String> = ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"]
    /// Keys that change no number of a forward pass.
    private static let neutralKeys: Set<String> = ["vocab_size", "tensor_data_layout", "rope.scaling.finetuned", "use_parallel_residual", "rope.scaling.original_context_length",
                                                   "rope.scaling.attn_factor", "expert_shared_count", "pooling_type"]

    init(path: String) throws {
        let file = try GGUFFile(path: path), format = try GGUFFormat.find(for: file)
        if let parts = file["split.count"]?.intValue, parts > 1 {
            throw LensError(.file, "a part of a model in several GGUF files", at: path, expected: "one file", found: "\(parts) parts",
                            advice: "join them (llama-gguf-split --merge)")
        }
        let metadata = GGUFMetadata(file, architecture: format.name)
        let json = JSON.object(try format.config(metadata))
        try metadata.finish(ignoring: Self.neutralKeys)
        architecture = try Architecture.find(for: json, at: path)
        config = try architecture.modelConfig(json, at: path)
        tensors = try GGUFCheckpoint(file, format, config, without: Self.consumed)
    }
}

/// A GGUF file's tensors under the names of the checkpoint it was made from. Matrices lie `[out, in]`, whatever the checkpoint
/// has, and norms hold what they multiply by (`WeightRule.inGGUF`).
struct GGUFCheckpoint: TensorSource {
    let location: String
    let names: [String]
    private let file: GGUFFile
    /// The file's name of each tensor, and the element it begins at: an expert's is a part of all experts'.
    private let stored: [String: (own: String, offset: Int)]
    private let entries: [String: TensorEntry]
    /// Rows of one head, of tensors whose rows are to be put back.
    private let headRows: [String: Int]

    init(_ file: GGUFFile, _ format: GGUFFormat, _ config: ModelConfig, without consumed: Set<String>) throws {
        var names: [String] = [], stored: [String: (own: String, offset: Int)] = [:], entries: [String: TensorEntry] = [:], headRows: [String: Int] = [:]
        func add(_ name: String, _ entry: TensorEntry, _ shape: [Int], from offset: Int = 0) throws {
            guard stored.updateValue((entry.name, offset), forKey: name) == nil else {
                throw LensError(.weights, "two tensors for one", at: "\(file.location): \(entry.name)", found: name)
            }
            names.append(name)
            entries[name] = try TensorEntry(name: name, dtype: entry.dtype, shape: shape, at: file.location)
        }
        for entry in file.names.compactMap(file.entry) where !consumed.contains(entry.name) {
            let name = format.sourceName(entry.name)
            if name.contains("{e}") {
                let count = config.mlp?.experts?.count ?? 0
                guard entry.shape.count == 3, entry.shape[0] == count else {
                    throw LensError(.weights, "tensor of the wrong shape", at: "\(file.location): \(entry.name)", expected: "[\(count), outputs, inputs] for \(count) experts",
                                    found: "\(entry.shape)")
                }
                for expert in 0..<count {
                    let own = name.split(separator: "{e}", omittingEmptySubsequences: false).joined(separator: "\(expert)")
                    try add(own, entry, Array(entry.shape[1...]), from: expert * (entry.elementCount / count))
                }
                continue
            }
            // A row of numbers may be a matrix of one row.
            try add(name, entry, name.hasSuffix("shared_expert_gate.weight") && entry.shape.count == 1 ? [1] + entry.shape : entry.shape)
            guard format.pairsRows, let heads = Self.heads(of: name, config) else { continue }
            guard let rows = entry.shape.first, rows == heads * config.dHead, config.dHead % 2 == 0 else {
                throw LensError(.weights, "tensor of the wrong shape", at: "\(file.location): \(entry.name)", expected: "\(heads * config.dHead) rows", found: "\(entry.shape)")
            }
            headRows[name] = config.dHead
        }
        location = file.location
        self.names = names
        self.file = file
        self.stored = stored
        self.entries = entries
        self.headRows = headRows
    }

    private static func heads(of name: String, _ config: ModelConfig) -> Int? {
        if name.contains(".self_attn.q_proj.") { return config.nHeads }
        return name.contains(".self_attn.k_proj.") ? config.kvHeads : nil
    }

    func entry(_ name: String) -> TensorEntry? { entries[name] }

    func blockType(_ name: String) -> GGMLType? { stored[name].flatMap { file.blockType($0.own) } }

    func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        let entry = try requireEntry(name)
        _ = try entry.byteRange(elementOffset: elementOffset, elementCount: elementCount, bufferCount: buffer.count, at: location)
        try forEachStretch(name, elementOffset, elementCount) { own, offset, count, done in
            let size = entry.dtype.bytesPerBlock
            try file.read(own, elementOffset: offset, elementCount: count,
                          into: UnsafeMutableRawBufferPointer(rebasing: buffer[(done * size)..<((done + count) * size)]))
        }
    }

    func readBlocks(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        let entry = try requireEntry(name)
        guard let (elements, bytes) = blockType(name)?.block, elementOffset >= 0, elementCount >= 0, elementOffset <= entry.elementCount,
              elementCount <= entry.elementCount - elementOffset, elementOffset % elements == 0, elementCount % elements == 0,
              buffer.count == elementCount / elements * bytes else {
            throw LensError(.shape, "not whole blocks of the tensor", at: "\(location): \(name)")
        }
        try forEachStretch(name, elementOffset, elementCount) { own, offset, count, done in
            try file.readBlocks(own, elementOffset: offset, elementCount: count,
                                into: UnsafeMutableRawBufferPointer(rebasing: buffer[(done / elements * bytes)..<((done + count) / elements * bytes)]))
        }
    }

    /// Elements that lie one after another in the file: a row each, where rows are put back, else all.
    /// - Parameter body: the file's name, offset and count there, and how many elements came before.
    private func forEachStretch(_ name: String, _ offset: Int, _ count: Int, _ body: (String, Int, Int, Int) throws -> Void) throws {
        guard let (own, first) = stored[name], let entry = entries[name], count > 0 else { return }
        guard let width = headRows[name] else { return try body(own, first + offset, count, 0) }
        let columns = entry.elementCount / entry.shape[0], half = width / 2
        var done = 0
        while done < count {
            let (row, column) = (offset + done).quotientAndRemainder(dividingBy: columns)
            let (head, place) = row.quotientAndRemainder(dividingBy: width)
            // Pairs (2j, 2j + 1) of the file are channels j and j + half.
            let paired = head * width + place % half * 2 + place / half, length = min(columns - column, count - done)
            try body(own, paired * columns + column, length, done)
            done += length
        }
    }
}

extension WeightRule {
    /// The rule as it is for a GGUF file.
    var inGGUF: WeightRule {
        var rule = linear
        if case .plusOne = change { rule.change = .none }
        return rule
    }

    /// The rule for a file that has every matrix as `[out, in]`.
    var linear: WeightRule {
        guard case .conv1D = form else { return self }
        return WeightRule(parameter: parameter, source: source, form: .linear, outputs: outputs, change: change, otherSource: otherSource)
    }
}
