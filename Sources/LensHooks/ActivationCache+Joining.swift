// The caches of consecutive passes as one: what generation captures, put together as one run over all positions has it.

import LensFiles
import LensTensor

extension ActivationCache {
    /// The activations of passes that follow each other over a key-value cache, as of one pass over all their positions.
    ///
    /// Joined along `pos`. Scores and patterns see more keys from pass to pass: earlier rows are filled up to the last
    /// number of keys as a mask fills them, with -inf and 0. What has no axis of queries (`hook_rot_k`, which holds all keys)
    /// is the last pass'; what only an earlier pass has (an encoder's activations, and what cross-attention made of them) is
    /// that one's.
    /// - Throws: `LensError(.shape)` if they are not passes of one model and batch.
    package init(joining parts: [ActivationCache], nLayers: Int) throws {
        self.init(nLayers: nLayers)
        guard let last = parts.last, let first = parts.first else { return }
        for name in first.names {
            guard let activation = try last.contains(name) ? last[name] : nil else {
                store(name, try first[name])
                continue
            }
            let site = HookPoint(name: name)?.site
            guard let axis = site?.row.axes.firstIndex(of: .pos), parts.count > 1 else {
                store(name, activation)
                continue
            }
            let hasKeys = site?.row.axes.last == .keyPos
            let fill: Float = site == .attnScores ? -.infinity : 0
            store(name, try Tensor(joining: parts.map { try $0[name] }, axis: axis, fill: hasKeys ? fill : nil))
        }
    }
}

extension Tensor {
    /// Tensors end to end along `axis`. With `fill`, the last axis may differ: shorter rows are filled up to the longest.
    /// - Throws: `LensError(.shape)` if other axes differ.
    package init(joining parts: [Tensor], axis: Int, fill: Float? = nil) throws {
        guard let last = parts.last, axis < last.rank else { throw LensError(.shape, "nothing to join") }
        var shape = last.shape
        for part in parts {
            let same = part.rank == last.rank && part.shape.indices.allSatisfy { index in
                index == axis || (fill != nil && index == last.rank - 1) || part.shape[index] == shape[index]
            }
            guard same else { throw LensError(.shape, "activations of consecutive passes", expected: "\(last.shape)", found: "\(part.shape)") }
        }
        shape[axis] = parts.reduce(0) { $0 + $1.shape[axis] }
        if fill != nil { shape[last.rank - 1] = parts.map { $0.shape[last.rank - 1] }.max() ?? 0 }
        self.init(repeating: fill ?? 0, shape: shape)
        // Without a fill, what follows the axis is one run; with one, the last axis is.
        let run = fill == nil ? shape[(axis + 1)...].reduce(1, *) : shape[shape.count - 1]
        let outer = shape[..<axis].reduce(1, *), between = fill == nil ? 1 : shape[(axis + 1)..<(shape.count - 1)].reduce(1, *)
        let total = shape[axis]
        var begin = 0
        for part in parts {
            let length = part.shape[axis], width = fill == nil ? run : part.shape[part.rank - 1], first = begin
            try part.withUnsafeElements { source in
                try withUnsafeMutableElements { target in
                    for block in 0..<outer {
                        for row in 0..<length * between {
                            let from = (block * length * between + row) * width
                            let to = ((block * total + first) * between + row) * run
                            _ = UnsafeMutableBufferPointer(rebasing: target[to..<to + width]).update(fromContentsOf: source[from..<from + width])
                        }
                    }
                }
            }
            begin += length
        }
    }
}
