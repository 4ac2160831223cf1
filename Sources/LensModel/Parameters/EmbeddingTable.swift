// A table of embeddings, as it is kept: plain float32 rows, or packed in another format, where row i is column i of the
// matrix's transpose (so that quantised blocks run along a row, as in files).

import LensFiles
import LensTensor

/// A table whose rows are looked up: `[rows, width]`.
public enum EmbeddingTable: Sendable {
    case plain(Tensor)
    case packed(PackedMatrix)

    /// Rows `ids`: `[ids.count, width]`.
    /// - Throws: `LensError(.shape)` for an id outside the table.
    public func gatherRows(_ ids: [Int]) throws -> Tensor {
        switch self {
        case .plain(let table): return try table.gatherRows(ids)
        case .packed(let matrix): return try matrix.gatherColumns(ids)
        }
    }
}

extension PackedMatrix {
    /// The matrix in another format (this one if it is in it already), its values rounded or quantised anew.
    /// - Throws: `LensError(.usage)` for a format that numbers are not packed into.
    public func keeping(_ format: WeightFormat) throws -> PackedMatrix {
        guard format != self.format else { return self }
        return try PackedMatrix(rows: rows, columns: columns, format: format) { writer in
            // A few megabytes at a time.
            let step = max(64, (1 << 20) / max(1, rows) / 64 * 64)
            for start in stride(from: 0, to: columns, by: step) {
                let range = start..<min(columns, start + step)
                let values = try unpacked(columns: range)
                try values.withUnsafeElements { elements in
                    guard let base = elements.baseAddress else { return }
                    try writer.pack(rows: 0..<rows, columns: range, from: base, .float32, rowStride: range.count, columnStride: 1)
                }
            }
        }
    }

    /// The first `count` columns, in the same format.
    func firstColumns(_ count: Int) throws -> PackedMatrix {
        guard count < columns else { return self }
        return try PackedMatrix(rows: rows, columns: count, format: format) { writer in
            if format.isQuantized {
                try blocks(columns: 0..<count).withUnsafeBytes { try writer.packBlocks(columns: 0..<count, from: $0) }
            } else {
                // Exact: the values are the format's own.
                try unpacked(columns: 0..<count).withUnsafeElements { elements in
                    guard let base = elements.baseAddress else { return }
                    try writer.pack(rows: 0..<rows, columns: 0..<count, from: base, .float32, rowStride: count, columnStride: 1)
                }
            }
        }
    }
}
