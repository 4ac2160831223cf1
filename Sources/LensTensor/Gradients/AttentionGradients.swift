// Attention in reverse: gradients of queries, keys, values, sinks and relative biases (or of scores or a pattern, where it
// started from those). Pattern rows are computed again in blocks; what the forward did not store is not stored.

import CLensKernels
import LensFiles

/// `result`, tracked if anything attention read is.
func recorded(_ result: AttentionResult, _ spec: AttentionSpec, _ source: AttentionSource, _ pages: KeyValuePages, _ keyMask: [UInt8]?,
              _ queries: Int) -> AttentionResult {
    // Scores that are given have their relative biases in them.
    var relative: GraphValue?
    if case .queries = source { relative = spec.relative?.graph }
    let inputs = [source.tensor.graph, spec.sinksGraph, relative] + pages.trackedKeys.values + pages.trackedValues.values
    let outputs = [result.scores, result.pattern, result.z].compactMap { $0 }
    guard inputs.contains(where: { $0 != nil }), !outputs.isEmpty else { return result }
    let pullback = AttentionPullback(spec: spec.detached(), source: source.detached(), pages: pages.detached(), keyMask: keyMask, queries: queries,
                                     keyParts: pages.trackedKeys.parts, valueParts: pages.trackedValues.parts,
                                     storesScores: result.scores != nil, storesPattern: result.pattern != nil, storesZ: result.z != nil)
    let node = GraphNode("attention", inputs: inputs, outputShapes: outputs.map(\.shape)) { try pullback($0) }
    var place = 0
    func attached(_ tensor: Tensor?) -> Tensor? {
        guard let tensor else { return nil }
        defer { place += 1 }
        return tensor.attached(to: GraphValue(node, output: place))
    }
    return AttentionResult(scores: attached(result.scores), pattern: attached(result.pattern), z: attached(result.z))
}

extension AttentionSpec {
    fileprivate func detached() -> AttentionSpec {
        var copy = self
        copy.sinksGraph = nil
        copy.relative?.graph = nil
        return copy
    }
}

extension AttentionSource {
    fileprivate func detached() -> AttentionSource {
        switch self {
        case .queries(let tensor): .queries(tensor.detached())
        case .scores(let tensor): .scores(tensor.detached())
        case .pattern(let tensor): .pattern(tensor.detached())
        }
    }
}

private struct AttentionPullback: Sendable {
    let spec: AttentionSpec
    let source: AttentionSource
    let pages: KeyValuePages
    let keyMask: [UInt8]?
    let queries: Int
    let keyParts: TrackedRuns.Parts
    let valueParts: TrackedRuns.Parts
    let storesScores: Bool, storesPattern: Bool, storesZ: Bool

    /// - Returns: gradients of the source, the sinks, the relative biases, and runs of keys and of values.
    func callAsFunction(_ request: GraphNode.Request) throws -> [Tensor?] {
        var given = request.outputs.makeIterator()
        let dscores = storesScores ? try given.next()??.contiguous() : nil
        let dpattern = storesPattern ? try given.next()??.contiguous() : nil
        let dz = storesZ ? try given.next()??.contiguous() : nil
        let keysEnd = 3 + keyParts.count, wants = request.wants
        let wantsKeys = wants[3..<keysEnd].contains(true), wantsValues = wants[keysEnd...].contains(true)
        let batch = pages.batch, held = pages.count - pages.heldFrom
        func made(_ isWanted: Bool, _ shape: [Int]) throws -> Tensor? { isWanted ? try Tensor(uninitialized: shape) : nil }
        let input = try made(wants[0], source.tensor.shape)
        let sinks = try made(wants[1] && spec.sinks != nil, [batch, spec.heads])
        let relative = try made(wants[2], [batch, spec.heads, 2 * (spec.relative?.reach ?? 0) + 1])
        let stored = [batch, held, spec.kvHeads, spec.dHead]
        // Without queries, scores do not depend on keys; values matter to z alone.
        var readsKeys = false
        if case .queries = source { readsKeys = true }
        let keys = try made(wantsKeys && readsKeys, stored), values = try made(wantsValues && dz != nil, stored)

        let isa = try Kernels.isa()
        try withKernelArguments(spec, source, pages, keyMask, queries) { forward in
            try withUnsafePointer(to: forward) { forward in
                var args = lens_attention_gradient_args()
                args.forward = forward
                args.held_from = Int64(pages.heldFrom)
                (args.dz, args.dpattern, args.dscores) = (dz?.elements, dpattern?.elements, dscores?.elements)
                switch source {
                case .queries: args.dq = input?.storage.pointer
                case .scores: args.dscores_in = input?.storage.pointer
                case .pattern: args.dpattern_in = input?.storage.pointer
                }
                (args.dk, args.dv) = (keys?.storage.pointer, values?.storage.pointer)
                (args.dsinks, args.drelative) = (sinks?.storage.pointer, relative?.storage.pointer)
                let scratch = try FloatStorage(uninitialized: Int(lens_attention_gradient_scratch(&args)))
                args.scratch = scratch.pointer
                args.scratch_count = Int64(scratch.count)
                withExtendedLifetime((dz, dpattern, dscores, scratch)) { lens_attention_gradient(isa, &args) }
            }
        }
        let ofKeys = try keys.map { try keyParts.of($0, from: pages.heldFrom) } ?? [Tensor?](repeating: nil, count: keyParts.count)
        let ofValues = try values.map { try valueParts.of($0, from: pages.heldFrom) } ?? [Tensor?](repeating: nil, count: valueParts.count)
        return [input, try sinks?.summed(to: [spec.heads]), try relative?.summed(to: Array(relative?.shape.dropFirst() ?? []))] + ofKeys + ofValues
    }
}
