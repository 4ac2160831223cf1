// Gradients most of whose rows are zero: those of a loss on last positions, of a patched position, of masked tokens. Products
// need only the other rows.

import CLensKernels
import LensFiles

extension Tensor {
    /// The rows (of the last axis) that hold something else than zeros; nil where too few are zero for it to matter.
    func rowsWorthMultiplying() throws -> [Int]? {
        guard let width = shape.last, width > 0, count / width >= 16 else { return nil }
        let rows = count / width
        var found: [Int] = []
        try withUnsafeElements { elements in
            guard let base = elements.baseAddress else { return }
            for row in 0..<rows where lens_is_any(Int64(width), base + row * width) {
                found.append(row)
                // Most rows count: the rest need not be looked at.
                if 4 * found.count > 3 * rows { return }
            }
        }
        return 4 * found.count > 3 * rows ? nil : found
    }

    /// These rows, together: `[rows.count, width]`.
    func takingRows(_ rows: [Int], width: Int) throws -> Tensor { try detached().reshaped([-1, width]).gatherRows(rows) }

    /// Rows of this tensor at their places among `count`, zeros elsewhere.
    func spreadRows(_ rows: [Int], among count: Int) throws -> Tensor {
        guard let width = shape.last, rank == 2, shape[0] == rows.count else { throw LensError(.shape, "rows to spread", expected: "[\(rows.count), width]", found: "\(shape)") }
        var out = Tensor(zeros: [count, width])
        try withUnsafeElements { elements in
            try out.withUnsafeMutableElements { places in
                guard let from = elements.baseAddress, let to = places.baseAddress else { return }
                for (index, row) in rows.enumerated() { (to + row * width).update(from: from + index * width, count: width) }
            }
        }
        return out
    }
}
