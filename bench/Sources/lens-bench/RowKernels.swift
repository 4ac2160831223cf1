// The kernels other than products, at the shapes of GPT-2 small, each against a plain Double reference before it is timed.

import ArgumentParser
import Foundation
import TransformerLens

/// One kernel at one shape: what it computes, what that should be, and how much work it is.
struct KernelEntry {
    enum Work {
        /// Bytes read and written, each once.
        case bytes(Int)
        /// Floating-point operations, a multiply-add being two.
        case flops(Double)
    }
    let name: String
    let work: Work
    let run: () throws -> Tensor
    /// The exact value of element `index` of what `run` returns.
    let exact: (_ index: Int) -> Double

    /// Compares 64 elements spread over the result with the reference: within 1e-5 of the largest, NaN nowhere.
    func check() throws {
        let found = try run().array
        let indices = (0..<64).map { $0 * (found.count - 1) / 63 }
        let largest = found.map(abs).max() ?? 0
        for index in indices {
            let expected = exact(index), difference = abs(Double(found[index]) - expected)
            guard difference <= 1e-5 * max(1e-3, Double(largest)) else {
                throw LensError(.usage, "\(name) differs from the reference", at: "element \(index)", expected: "\(expected)", found: "\(found[index])")
            }
        }
    }

    func measured(_ seconds: Double) throws -> JSON {
        try check()
        let timing = try Timing(seconds: seconds) { _ = try run() }
        var result = timing.json
        result["kernel"] = .string(name)
        switch work {
        case .bytes(let count): result["gb_per_s"] = .double(1e-9 * Double(count) / timing.median)
        case .flops(let count): result["gflops"] = .double(1e-9 * count / timing.median)
        }
        result["runs_s"] = nil
        return .object(result)
    }
}

struct RowKernels: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels", abstract: "Time the other kernels: norms, softmax, cross-entropy, activations, rotation, attention.")

    @Option(help: "Rows, or positions.") var rows = 1024
    @Option(help: "Keys that decoding attends to.") var keys = 1024
    @Option(help: "Only kernels whose name contains this.") var only = ""
    @Option var threads = 2
    @Option(help: "Seconds for each.") var seconds = 0.5

    func validate() throws {
        guard rows > 0, keys > 0 else { throw ValidationError("--rows and --keys take numbers from 1") }
    }

    func run() throws {
        Kernels.threads = threads
        let entries = try rowEntries(rows) + attentionEntries(rows, keys)
        let results = try entries.filter { only.isEmpty || $0.name.contains(only) }.map { try $0.measured(seconds) }
        let report: JSON = ["instruction_set": .string(try Kernels.instructionSet()), "threads": .int(Kernels.threads), "rows": .int(rows),
                            "keys": .int(keys), "results": .array(results)]
        print(try report.text(pretty: true))
    }
}

private let width = 768, vocabulary = 50257

/// Kernels that take a row at a time.
private func rowEntries(_ rows: Int) throws -> [KernelEntry] {
    let x = try randomTensor([rows, width], seed: 1), wide = try randomTensor([rows, 4 * width], seed: 2)
    let weight = try randomTensor([width], seed: 3), bias = try randomTensor([width], seed: 4), logitRows = min(rows, 128)
    let logits = try randomTensor([logitRows, vocabulary], seed: 5), targets = (0..<logitRows).map { $0 * 7919 % vocabulary }
    let (xs, wides, weights, biases, logit) = (x.array, wide.array, weight.array, bias.array, logits.array)
    func normed(_ index: Int, centring: Bool) -> Double {
        let row = xs[index / width * width..<(index / width + 1) * width].map(Double.init)
        let mean = centring ? row.reduce(0, +) / Double(width) : 0
        let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(width), at = index % width
        return (row[at] - mean) / (variance + 1e-5).squareRoot() * Double(weights[at]) + (centring ? Double(biases[at]) : 0)
    }
    func logSum(_ row: Int) -> Double { log(logit[row * vocabulary..<(row + 1) * vocabulary].reduce(0) { $0 + exp(Double($1)) }) }
    let moved = KernelEntry.Work.bytes(8 * rows * width), movedWide = KernelEntry.Work.bytes(8 * wides.count)
    let movedLogits = KernelEntry.Work.bytes(8 * logit.count)
    let activations: [(Activation, (Double) -> Double)] = [
        (.gelu, { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) }),
        (.geluNew, { 0.5 * $0 * (1 + tanh((2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0))) }),
        (.silu, { $0 / (1 + exp(-$0)) }),
        (.xielu, { x in x > 0 ? 0.8 * x * x + 0.5 * x : 0.8 * (expm1(min(x, -1e-6)) - x) + 0.5 * x }),
    ]
    return [
        KernelEntry(name: "layer norm", work: moved, run: { try unwrapped(norm(.layer, x, eps: 1e-5, weight: weight, bias: bias).out) },
                    exact: { normed($0, centring: true) }),
        KernelEntry(name: "rms norm", work: moved, run: { try unwrapped(norm(.rms, x, eps: 1e-5, weight: weight).out) },
                    exact: { normed($0, centring: false) }),
        KernelEntry(name: "softmax", work: movedLogits, run: { try logits.softmax() },
                    exact: { exp(Double(logit[$0]) - logSum($0 / vocabulary)) }),
        KernelEntry(name: "log-softmax", work: movedLogits, run: { try logits.logSoftmax() },
                    exact: { Double(logit[$0]) - logSum($0 / vocabulary) }),
        KernelEntry(name: "cross-entropy", work: .bytes(4 * logit.count), run: { try logits.crossEntropy(targets: targets) },
                    exact: { logSum($0) - Double(logit[$0 * vocabulary + targets[$0]]) }),
    ] + activations.map { activation, exact in
        KernelEntry(name: "activation \(activation.rawValue)", work: movedWide, run: { try wide.applying(activation) },
                    exact: { exact(Double(wides[$0])) })
    } + [try rotaryEntry(rows)]
}

/// Rotation of 12 heads of 64 channels.
private func rotaryEntry(_ rows: Int) throws -> KernelEntry {
    let heads = 12, dHead = 64, pairs = dHead / 2, x = try randomTensor([1, rows, heads, dHead], seed: 6), xs = x.array
    let angles = (0..<rows * pairs).map { Double($0 / pairs) * pow(10_000, -Double($0 % pairs) / Double(pairs)) }
    let cosines = angles.map { Float(cos($0)) }, sines = angles.map { Float(sin($0)) }
    let table = try RotaryTable(cos: Tensor(cosines, shape: [rows, pairs]), sin: Tensor(sines, shape: [rows, pairs]), adjacentPairs: false)
    let positions = Array(0..<rows)
    return KernelEntry(name: "rotary", work: .bytes(8 * xs.count), run: { try table.rotate(x, positions: positions) }, exact: { index in
        let channel = index % dHead, angle = index / (heads * dHead) * pairs + channel % pairs
        let a = Double(xs[index]), c = Double(cosines[angle]), s = Double(sines[angle])
        return channel < pairs ? a * c - Double(xs[index + pairs]) * s : a * c + Double(xs[index - pairs]) * s
    })
}

/// Causal attention of 12 heads of 64: all positions at once, and the last one alone.
private func attentionEntries(_ rows: Int, _ keys: Int) throws -> [KernelEntry] {
    let heads = 12, dHead = 64, spec = AttentionSpec(heads: heads, kvHeads: heads, dHead: dHead, scoreScale: 0.125)
    func entry(_ name: String, queries: Int, keys: Int) throws -> KernelEntry {
        let shape = { [1, $0, heads, dHead] }
        let q = try randomTensor(shape(queries), seed: 7), k = try randomTensor(shape(keys), seed: 8), v = try randomTensor(shape(keys), seed: 9)
        var pages = KeyValuePages(kvHeads: heads, dHead: dHead, first: [0])
        try pages.append(keys: k, values: v)
        let held = pages, (qs, ks, vs) = (q.array, k.array, v.array)
        let seen = (0..<queries).reduce(0.0) { $0 + Double(keys - queries + $1 + 1) }
        return KernelEntry(name: name, work: .flops(4 * seen * Double(heads * dHead)), run: {
            try unwrapped(attention(spec, from: .queries(q), over: held, storing: .z).z)
        }, exact: { index in
            let query = index / (heads * dHead), head = index / dHead % heads
            func vector(_ x: [Float], _ at: Int) -> ArraySlice<Float> { x[(at * heads + head) * dHead..<(at * heads + head + 1) * dHead] }
            let weights = (0...keys - queries + query).map { key in
                exp(0.125 * zip(vector(qs, query), vector(ks, key)).reduce(0) { $0 + Double($1.0) * Double($1.1) })
            }
            let sum = weights.enumerated().reduce(0.0) { $0 + $1.element * Double(vs[($1.offset * heads + head) * dHead + index % dHead]) }
            return sum / weights.reduce(0, +)
        })
    }
    return [try entry("attention prefill", queries: rows, keys: rows), try entry("attention decode", queries: 1, keys: keys)]
}

private func unwrapped(_ tensor: Tensor?) throws -> Tensor {
    guard let tensor else { throw LensError(.usage, "nothing was computed") }
    return tensor
}
