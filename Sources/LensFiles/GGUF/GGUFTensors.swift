// A GGUF file as a source of tensors: plain types as they are stored, quantised ones decoded to float32 as they are read, or
// block by block as they are stored.

extension GGUFFile: TensorSource {
    public var names: [String] { tensors.map(\.name) }

    public func entry(_ name: String) -> TensorEntry? { position(name).map { entries[$0] } }

    public func blockType(_ name: String) -> GGMLType? {
        guard let type = tensor(name)?.type, type.plain == nil else { return nil }
        return type
    }

    public func read(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let position = position(name) else {
            _ = try requireEntry(name)
            return
        }
        let (tensor, entry) = (tensors[position], entries[position])
        let range = try entry.byteRange(elementOffset: elementOffset, elementCount: elementCount, bufferCount: buffer.count, at: location)
        if tensor.type.plain != nil { return try file.read(at: tensor.byteRange.lowerBound + range.lowerBound, into: buffer) }
        guard tensor.type.isDecodable else {
            throw LensError(.weights, "quantisation that is not decoded", at: "\(location): \(name)",
                            expected: "a plain type, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1 or Q2_K to Q6_K", found: "\(tensor.type)")
        }
        try decode(tensor, elementOffset..<(elementOffset + elementCount), to: buffer)
    }

    public func readBlocks(_ name: String, elementOffset: Int, elementCount: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
        guard let tensor = tensor(name), let type = blockType(name) else {
            _ = try requireEntry(name)
            throw LensError(.weights, "tensor that is not quantised in blocks", at: "\(location): \(name)")
        }
        let (elements, bytes) = type.block, (end, overflow) = elementOffset.addingReportingOverflow(elementCount)
        guard elementOffset >= 0, elementCount >= 0, !overflow, end <= tensor.elementCount, elementOffset % elements == 0,
              elementCount % elements == 0, buffer.count == elementCount / elements * bytes else {
            throw LensError(.shape, "not whole blocks of the tensor", at: "\(location): \(name)",
                            expected: "multiples of \(elements) within \(tensor.elementCount), \(bytes) bytes each", found: "\(elementCount) from \(elementOffset)")
        }
        try file.read(at: tensor.byteRange.lowerBound + elementOffset / elements * bytes, into: buffer)
    }

    /// Decodes elements `range` to `target`, a stretch of blocks at a time.
    private func decode(_ tensor: GGUFTensor, _ range: Range<Int>, to target: UnsafeMutableRawBufferPointer) throws {
        guard let target = target.baseAddress, !range.isEmpty else { return }
        let (elements, bytes) = tensor.type.block
        let stretch = max(1, (1 << 16) / bytes)
        let first = range.lowerBound / elements, end = (range.upperBound - 1) / elements + 1
        try withUnsafeTemporaryAllocation(of: Float.self, capacity: stretch * elements) { decoded in
            guard let numbers = decoded.baseAddress else { return }
            var stored = [UInt8](repeating: 0, count: stretch * bytes)
            for start in stride(from: first, to: end, by: stretch) {
                let count = min(stretch, end - start)
                try stored.withUnsafeMutableBytes { stored in
                    let part = UnsafeMutableRawBufferPointer(rebasing: stored[..<(count * bytes)])
                    try file.read(at: tensor.byteRange.lowerBound + start * bytes, into: part)
                    if let base = part.baseAddress { try tensor.type.decode(base, blocks: count, to: numbers) }
                }
                // Of the first and last block, perhaps only a part.
                let wanted = range.clamped(to: (start * elements)..<((start + count) * elements))
                (target + (wanted.lowerBound - range.lowerBound) * 4).copyMemory(from: numbers + (wanted.lowerBound - start * elements), byteCount: wanted.count * 4)
            }
        }
    }
}
