// What rows of logits say, gathered a range of tokens at a time: entropy, distance from another row, the largest logits, ranks.
// Every logit is taken in its order, so the outcome is the same, bit for bit, wherever the vocabulary is cut.

import CLensKernels
import LensFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Reads logits `[stacks, rows, vocabulary]` in ranges of the vocabulary; each row is compared with the last stack's.
package struct LogitReader {
    package let stacks: Int
    package let rows: Int
    package let topK: Int
    private let targets: [Float]?
    private var readings: [lens_reading]
    private var ids: [Int32]
    private var largest: [Float]
    /// Tokens read so far.
    package private(set) var count = 0

    /// - Parameter targets: logits whose ranks are counted, `[stacks, rows]` flat; nil: none.
    /// - Throws: `LensError(.shape)` if they do not fit.
    package init(stacks: Int, rows: Int, topK: Int, targets: [Float]?) throws {
        let places = try checkedCount([stacks, rows])
        guard topK > 0, targets.map({ $0.count == places }) ?? true else {
            throw LensError(.shape, "what a reader of logits is asked", expected: "a target for each of \([stacks, rows]), and some tokens to name",
                            found: "\(targets?.count ?? 0) targets, \(topK) tokens")
        }
        let named = try checkedCount([stacks, rows, topK])
        self.stacks = stacks
        self.rows = rows
        self.topK = topK
        self.targets = targets
        readings = Array(repeating: lens_reading(max: -.infinity, sum: 0, weighted: 0, divergence: 0, above: 0), count: places)
        ids = Array(repeating: 0, count: named)
        largest = Array(repeating: -.infinity, count: named)
    }

    /// Reads the logits of the tokens that come next: `[stacks, rows, n]`.
    /// - Throws: `LensError(.shape)`.
    package mutating func read(_ logits: Tensor) throws {
        guard logits.rank == 3, logits.shape[0] == stacks, logits.shape[1] == rows, Int32(exactly: count + logits.shape[2]) != nil else {
            throw LensError(.shape, "logits of some tokens", expected: "[\(stacks), \(rows), tokens]", found: "\(logits.shape)")
        }
        try logits.withUnsafeElements { elements in
            guard let logits = elements.baseAddress else { return }
            let call = (stacks: Int64(stacks), rows: Int64(rows), first: Int64(count), width: Int64(elements.count / max(1, stacks * rows)), top: Int64(topK))
            func read(_ targets: UnsafePointer<Float>?, _ readings: inout [lens_reading], _ ids: inout [Int32], _ largest: inout [Float]) {
                lens_read_logits(call.stacks, call.rows, call.first, call.width, logits, targets, call.top, &readings, &ids, &largest)
            }
            guard let targets else { return read(nil, &readings, &ids, &largest) }
            targets.withUnsafeBufferPointer { read($0.baseAddress, &readings, &ids, &largest) }
        }
        count += logits.shape[2]
    }

    private func logarithm(_ x: Double) -> Double { log(x) }

    /// log Σ exp of a row, `place` of stacks × rows.
    private func logSum(_ place: Int) -> Double { readings[place].max + logarithm(readings[place].sum) }

    /// Entropy of a row's softmax, in nats.
    package func entropy(_ place: Int) -> Float {
        Float(logarithm(readings[place].sum) - readings[place].weighted / readings[place].sum)
    }

    /// KL(last stack's ‖ a row's), in nats.
    package func divergence(_ place: Int) -> Float {
        let own = (stacks - 1) * rows + place % rows
        return Float(readings[place].divergence / readings[own].sum - (logSum(own) - logSum(place)))
    }

    /// The log-probability of a logit in a row.
    package func logProb(_ logit: Float, _ place: Int) -> Float { Float(Double(logit) - logSum(place)) }

    /// How many of a row's logits are above its target.
    package func rank(_ place: Int) -> Int { Int(readings[place].above) }

    /// A row's largest logits, largest first, the earlier of equals first.
    package func top(_ place: Int) -> [(token: Int, logit: Float)] {
        (place * topK..<(place + 1) * topK).map { (token: Int(ids[$0]), logit: largest[$0]) }
    }
}
