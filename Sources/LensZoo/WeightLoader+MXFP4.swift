// Matrices in MXFP4: 4-bit floats in blocks of 32 with a shared exponent, in a tensor of blocks and one of scales. They are
// unpacked chunk by chunk on their way into the panels.

import LensFiles
import LensModel
import LensTensor

extension WeightLoader {
    private static let blockElements = 32, blockBytes = 16, columnsAtOnce = 64

    /// - Parameter names: of the blocks `[experts, out, in / 32, 16]` and the scales `[experts, out, in / 32]`.
    func readMXFP4(_ rule: WeightRule, _ names: [String], _ spec: ParameterSpec) throws -> Parameter {
        guard let (rows, columns) = spec.matrixShape, rows % Self.blockElements == 0 else {
            throw LensError(.weights, "no matrix of whole blocks", at: "\(tensors.location): \(names[0])",
                            expected: "a multiple of \(Self.blockElements) inputs", found: "shape \(spec.shape)")
        }
        let blocks = try tensors.requireEntry(names[0]), scales = try tensors.requireEntry(names[1])
        for entry in [blocks, scales] where entry.dtype != .u8 {
            throw LensError(.weights, "4-bit weights of an unsupported type", at: "\(tensors.location): \(entry.name)", expected: "U8",
                            found: entry.dtype.rawValue)
        }
        let perRow = rows / Self.blockElements, total = rule.outputs.total(for: columns)
        let blocksOffset = try checkedOffset(rule, blocks, [total, perRow, Self.blockBytes])
        let scalesOffset = try checkedOffset(rule, scales, [total, perRow])
        // Every 4-bit number times its scale is a bfloat16.
        let format = spec.format(dtype ?? .bfloat16)
        return .matrix(try PackedMatrix(rows: rows, columns: columns, format: format) { writer in
            var column = 0
            for run in rule.outputs.runs(for: columns) {
                // A panel's columns at once: packing writes a float of each to every row.
                for start in stride(from: 0, to: run.count, by: Self.columnsAtOnce) {
                    let outputs = (start..<min(start + Self.columnsAtOnce, run.count)).map { run.start + $0 * run.step }
                    let places = outputs.map { (blocks: blocksOffset + $0 * perRow * Self.blockBytes, scales: scalesOffset + $0 * perRow) }
                    try withRows(perRow, places, blocks.name, scales.name) { unpacked in
                        try writer.pack(rows: 0..<rows, columns: column..<column + outputs.count, from: unpacked, .float32, rowStride: 1,
                                        columnStride: rows)
                    }
                    column += outputs.count
                }
            }
        })
    }

    /// Reads rows of blocks and their scales, and unpacks them one behind the other: one buffer for bytes and numbers.
    private func withRows(_ perRow: Int, _ places: [(blocks: Int, scales: Int)], _ blocks: String, _ scales: String,
                          _ body: (UnsafeRawPointer) throws -> Void) throws {
        let row = perRow * Self.blockElements, unpackedBytes = places.count * row * MemoryLayout<Float>.size, blockBytes = perRow * Self.blockBytes
        buffer.grow(to: unpackedBytes + blockBytes + perRow)
        let blockBuffer = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[unpackedBytes..<unpackedBytes + blockBytes])
        let scaleBuffer = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[(unpackedBytes + blockBytes)..<(unpackedBytes + blockBytes + perRow)])
        guard let base = buffer.bytes.baseAddress, let elements = blockBuffer.baseAddress, let exponents = scaleBuffer.baseAddress else { return }
        for (index, place) in places.enumerated() {
            try tensors.read(blocks, elementOffset: place.blocks, elementCount: blockBytes, into: blockBuffer)
            try tensors.read(scales, elementOffset: place.scales, elementCount: perRow, into: scaleBuffer)
            unpackMXFP4(blocks: perRow, elements: elements.assumingMemoryBound(to: UInt8.self), scales: exponents.assumingMemoryBound(to: UInt8.self),
                        to: base.assumingMemoryBound(to: Float.self) + index * row)
        }
        try body(UnsafeRawPointer(base))
    }
}
