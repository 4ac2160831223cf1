// Products over packed weights, against a Double reference first; GFLOP/s and GB/s after.

import ArgumentParser
import TransformerLens

struct Products: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time products with a packed weight matrix.")

    @Option(help: "Rows of W.") var rows = 768
    @Option(help: "Columns of W.") var columns = 3072
    @Option(help: "How the weights are kept; repeatable. Those of GGUF files hold random blocks.") var format: [String] = ["f32"]
    @Option(help: "Rows of x; repeatable.") var m: [Int] = [1, 4, 16, 64, 128, 1024]
    @Option var threads = 2
    @Option(help: "Seconds for each.") var seconds = 1.0

    func run() throws {
        Kernels.threads = threads
        let results = try format.flatMap { name -> [JSON] in
            guard let format = WeightFormat(rawValue: name) else {
                throw ValidationError("--format takes \(WeightFormat.allCases.map(\.rawValue).joined(separator: ", ")), not '\(name)'")
            }
            return try measure(matrix(format))
        }
        let report: JSON = ["instruction_set": .string(try Kernels.instructionSet()), "threads": .int(threads), "k": .int(rows), "n": .int(columns),
                            "results": .array(results)]
        print(try report.text(pretty: true))
    }

    private func measure(_ packed: PackedMatrix) throws -> [JSON] {
        let weights = try packed.unpacked(), plain = try PackedMatrix(weights)
        return try m.map { count in
            let x = try randomTensor([count, rows], seed: 2), out = try packed.product(x).out
            try check(x, weights, out)
            guard try zip(out.array, plain.product(x).out.array).allSatisfy({ $0.bitPattern == $1.bitPattern }) else {
                throw LensError(.usage, "product differs from that of the same weights in float32", at: "\(packed.format), m \(count)")
            }
            let timing = try Timing(seconds: seconds) { _ = try packed.product(x) }
            var result = timing.json
            result["format"] = .string(packed.format.rawValue)
            result["m"] = .int(count)
            result["gflops"] = .double(2e-9 * Double(count * rows * columns) / timing.median)
            result["weights_gb_per_s"] = .double(1e-9 * Double(packed.byteCount) / timing.median)
            result["runs_s"] = nil
            return .object(result)
        }
    }

    /// Random weights; where numbers are not packed, random blocks, whose scales are numbers of an ordinary size.
    private func matrix(_ format: WeightFormat) throws -> PackedMatrix {
        if format.packsNumbers { return try PackedMatrix(randomTensor([rows, columns], seed: 1), format: format) }
        return try PackedMatrix(rows: rows, columns: columns, format: format) { writer in
            var state: UInt64 = 1
            func random() -> UInt8 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return UInt8(truncatingIfNeeded: state >> 48)
            }
            // Bytes whose pairs, wherever the scales are among them, are float16 numbers of 2^-11 to 2^-4.
            let count = rows / format.blockRows * format.blockBytes * columns
            let bytes = (0..<count).map { index in index % 2 == 0 ? random() : 0x10 | random() & 0x8f }
            try bytes.withUnsafeBytes { try writer.packBlocks(columns: 0..<columns, from: $0) }
        }
    }

    /// A few elements against Double.
    private func check(_ x: Tensor, _ weights: Tensor, _ out: Tensor) throws {
        for (row, column) in [(0, 0), (x.shape[0] - 1, columns - 1), (x.shape[0] / 2, columns / 3)] {
            let a = try x.at(.at(row)).array, b = try weights.at(.all, .at(column)).array
            let exact = zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            let bound = 1e-6 * zip(a, b).reduce(0.0) { $0 + abs(Double($1.0) * Double($1.1)) }
            let found = Double(try out.at(.at(row), .at(column)).item())
            guard abs(found - exact) <= bound else {
                throw LensError(.usage, "product differs from the reference", at: "[\(row), \(column)]", expected: "\(exact)", found: "\(found)")
            }
        }
    }
}
