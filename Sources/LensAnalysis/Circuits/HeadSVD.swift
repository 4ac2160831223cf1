// The singular directions of one head's maps, W_Q·W_Kᵀ and W_V·W_O, and which of them can be told apart: TransformerLens
// 3.9's `tools.analysis.svd_circuits`. Neighbours closer than a gap are one block, a subspace whose directions are arbitrary;
// so are directions of no size.

import LensFiles
import LensModel
import LensTensor

/// Which of a head's maps.
public enum HeadMap: String, Sendable, Hashable, CaseIterable { case QK, OV }

/// The decomposition of one head's map.
public struct HeadSVD: Sendable {
    /// One direction.
    public struct Direction: Sendable, Hashable {
        /// Its column in U and V.
        public let index: Int
        public let sigma: Double
        /// `sigma` over the largest.
        public let sigmaRatio: Double
        /// It cannot be spoken of alone: in a block with others, or null.
        public let isDegenerate: Bool
        /// So small that its vectors are arbitrary.
        public let isNull: Bool
        /// Its block, from 0.
        public let blockID: Int
    }

    public let which: HeadMap
    public let head: HeadIndex
    /// `[d_model, rank]`: what the map gives (OV: its rows' side), column by column. The map is U · diag(S) · Vᵀ.
    public let U: Tensor
    /// `[rank]`, falling.
    public let S: Tensor
    /// `[d_model, rank]`
    public let V: Tensor
    public let directions: [Direction]
    /// The relative gap that ends a block.
    public let eps: Double
    /// Below this share of the largest, a direction is null.
    public let nullTolerance: Double

    /// The directions of a direction's block.
    /// - Throws: `LensError(.usage)` for a direction there is not.
    public func block(of index: Int) throws -> [Int] {
        let block = try direction(index).blockID
        return directions.filter { $0.blockID == block }.map(\.index)
    }

    /// The blocks that have a degenerate direction: to be taken whole, or left.
    public var degenerateBlocks: [[Int]] {
        Dictionary(grouping: directions, by: \.blockID).sorted { $0.key < $1.key }.map(\.value)
            .filter { $0.contains(where: \.isDegenerate) }.map { $0.map(\.index) }
    }

    /// - Throws: `LensError(.usage)` unless the direction can be spoken of alone.
    public func requireIsolated(_ index: Int) throws {
        let direction = try direction(index)
        guard direction.isDegenerate else { return }
        let place = "direction \(index) of the \(which.rawValue) map of head \(head)", block = try block(of: index)
        if direction.isNull {
            throw LensError(.usage, "numerically null: its singular vector is arbitrary", at: place, expected: "a share of the largest from \(nullTolerance)",
                            found: "\(direction.sigmaRatio)", advice: "take the null block \(block) as a subspace, or leave it")
        }
        throw LensError(.usage, "defined only up to a rotation within its block", at: place, expected: "a relative gap of \(eps)", found: "block \(block)",
                        advice: "take the block as a subspace")
    }

    private func direction(_ index: Int) throws -> Direction {
        guard directions.indices.contains(index) else {
            throw LensError(.usage, "no such direction", expected: "0..<\(directions.count)", found: "\(index)")
        }
        return directions[index]
    }

    /// - Parameter map: the head's map by its factors.
    init(_ map: FactoredMatrix, which: HeadMap, head: HeadIndex, eps: Double, nullTolerance: Double?) throws {
        self.which = which
        self.head = head
        self.eps = eps
        self.nullTolerance = nullTolerance ?? Double(map.ldim) * Double(Float.ulpOfOne)
        (U, S, V) = try map.svd()
        directions = Self.directions(S.array.map(Double.init), eps, self.nullTolerance)
    }

    /// No division by less.
    private static let floor = 1e-12

    /// Blocks end where the next value is smaller by at least `eps` of its neighbour; runs of null directions are one.
    package static func directions(_ sigmas: [Double], _ eps: Double, _ nullTolerance: Double) -> [Direction] {
        let top = max(sigmas.first ?? 0, floor)
        var blocks: [Int] = []
        for (index, sigma) in sigmas.enumerated() {
            guard index > 0 else {
                blocks.append(0)
                continue
            }
            let before = sigmas[index - 1]
            let joins = 1 - sigma / max(before, floor) < eps || (sigma / top < nullTolerance && before / top < nullTolerance)
            blocks.append(blocks[index - 1] + (joins ? 0 : 1))
        }
        return sigmas.enumerated().map { index, sigma in
            let isNull = sigma / top < nullTolerance, isShared = blocks.count { $0 == blocks[index] } > 1
            return Direction(index: index, sigma: sigma, sigmaRatio: sigma / top, isDegenerate: isShared || isNull, isNull: isNull, blockID: blocks[index])
        }
    }
}

extension HasTransformer {
    /// Decomposes a head's maps (TransformerLens' `decompose_head`). In grouped models a query head has its group's keys and values.
    ///
    /// - Parameters:
    ///   - eps: relative gap below which neighbouring directions are one block.
    ///   - nullTolerance: share of the largest singular value below which a direction is null; d_model · 2⁻²³ by default.
    /// - Returns: one decomposition for each map, in the order asked for.
    /// - Throws: `LensError(.usage)` for a head the model has not, or no map; `(.machine)` without LAPACK.
    public func decomposeHead(_ head: HeadIndex, which: [HeadMap] = HeadMap.allCases, eps: Double = 1e-2, nullTolerance: Double? = nil) throws -> [HeadSVD] {
        let config = model.config
        guard (0..<config.nLayers).contains(head.layer), (0..<config.nHeads).contains(head.head) else {
            throw LensError(.usage, "no such head", expected: "\(config.nLayers) layers of \(config.nHeads) heads", found: "\(head)")
        }
        guard !which.isEmpty else { throw LensError(.usage, "no map to decompose", expected: "QK, OV or both") }
        return try which.map { map in
            let layer = map == .QK ? try QK[head.layer] : try OV[head.layer]
            return try HeadSVD(layer.at(.at(head.head)), which: map, head: head, eps: eps, nullTolerance: nullTolerance)
        }
    }
}
