// What a patch puts into an activation: TransformerLens' axes and patch setters. Most are regions, the same place in the
// clean activation and in the corrupted one; a closure does anything else.

import LensFiles
import LensTensor

/// An axis of a patching sweep. Raw values are TransformerLens' names.
public enum PatchAxis: String, Sendable, Hashable, CaseIterable {
    case layer, pos
    case headIndex = "head_index"
    /// As `headIndex`.
    case head
    case srcPos = "src_pos"
    case destPos = "dest_pos"
}

/// How a cell of a sweep changes an activation: TransformerLens' `patch_setter`.
public struct PatchSetter {
    enum Kind {
        /// Places along each axis, the batch first, copied from the clean activation.
        case region(parts: Int, ([Int]) -> [TensorIndex])
        case custom((inout Tensor, [Int], Tensor) throws -> Void)
    }
    let kind: Kind

    /// Anything: `body` is given the corrupted activation `[batch, …]` to change, the cell's index (its layer first) and the
    /// clean activation.
    public static func custom(_ body: @escaping (inout Tensor, [Int], Tensor) throws -> Void) -> PatchSetter {
        PatchSetter(kind: .custom(body))
    }

    private static func region(_ parts: Int, _ places: @escaping ([Int]) -> [TensorIndex]) -> PatchSetter {
        PatchSetter(kind: .region(parts: parts, places))
    }

    /// `[layer, pos]` of `[batch, pos, …]`.
    public static var layerPos: PatchSetter { region(2) { [.all, .at($0[1])] } }
    /// `[layer, pos, head_index]` of `[batch, pos, head_index, d_head]`.
    public static var layerPosHeadVector: PatchSetter { region(3) { [.all, .at($0[1]), .at($0[2])] } }
    /// `[layer, head_index]` of `[batch, pos, head_index, d_head]`.
    public static var layerHeadVector: PatchSetter { region(2) { [.all, .all, .at($0[1])] } }
    /// `[layer, head_index]` of `[batch, head_index, dest_pos, src_pos]`.
    public static var layerHeadPattern: PatchSetter { region(2) { [.all, .at($0[1])] } }
    /// `[layer, head_index, dest_pos]` of `[batch, head_index, dest_pos, src_pos]`.
    public static var layerHeadPosPattern: PatchSetter { region(3) { [.all, .at($0[1]), .at($0[2])] } }
    /// `[layer, head_index, dest_pos, src_pos]` of `[batch, head_index, dest_pos, src_pos]`.
    public static var layerHeadDestSrcPosPattern: PatchSetter { region(4) { [.all, .at($0[1]), .at($0[2]), .at($0[3])] } }

    /// Changes `rows` of the batch axis of `corrupted`.
    /// - Throws: `LensError(.shape)` for an index or shapes that do not fit; what a custom setter throws.
    package func apply(to corrupted: inout Tensor, rows: Range<Int>, index: [Int], clean: Tensor) throws {
        switch kind {
        case .region(let parts, let places):
            guard index.count == parts else {
                throw LensError(.usage, "an index does not fit the patch setter", expected: "\(parts) numbers, the layer first", found: "\(index)")
            }
            let region = places(index)
            try corrupted.assign(clean.view(region), at: [.range(rows)] + region.dropFirst())
        case .custom(let body):
            if rows == 0..<corrupted.shape[0] { return try body(&corrupted, index, clean) }
            var part = try corrupted.at(.range(rows)).contiguous()
            let shape = part.shape
            try body(&part, index, clean)
            guard part.shape == shape else {
                throw LensError(.shape, "a patch setter changed the shape of an activation", expected: "\(shape)", found: "\(part.shape)")
            }
            try corrupted.set(.range(rows), to: part)
        }
    }
}
