// Products over packed weights, against a Double reference first; GFLOP/s and GB/s after.

import ArgumentParser
import TransformerLens

struct Products: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time products with a packed weight matrix.")

    @Option(help: "Rows of W.") var rows = 768
    @Option(help: "Columns of W.") var columns = 3072
    @Option(help: "Rows of x; repeatable.") var m: [Int] = [1, 4, 16, 64, 128, 1024]
    @Option var threads = 2
    @Option(help: "Seconds for each.") var seconds = 1.0

    func run() throws {
        Kernels.threads = threads
        let weights = try randomTensor([rows, columns], seed: 1), packed = try PackedMatrix(weights)
        var results: [JSON] = []
        for count in m {
            let x = try randomTensor([count, rows], seed: 2)
            try check(x, weights, packed.product(x).out)
            let timing = try Timing(seconds: seconds) { _ = try packed.product(x) }
            var result = timing.json
            result["m"] = .int(count)
            result["gflops"] = .double(2e-9 * Double(count * rows * columns) / timing.median)
            result["weights_gb_per_s"] = .double(4e-9 * Double(rows * columns) / timing.median)
            result["runs_s"] = nil
            results.append(.object(result))
        }
        let report: JSON = ["instruction_set": .string(try Kernels.instructionSet()), "threads": .int(threads), "k": .int(rows), "n": .int(columns),
                            "results": .array(results)]
        print(try report.text(pretty: true))
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
