// The machine's own limits: multiply-adds in registers, and reading memory, on all threads at once.

import ArgumentParser
import CMachine
import Foundation
import TransformerLens

struct Machine: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Measure what the machine can do at most: GFLOP/s and GB/s read.")

    @Option var threads = 2
    @Option(help: "Megabytes read by each thread.") var megabytes = 256

    func run() throws {
        Kernels.threads = threads
        let rates = onAllThreads { _ in machine_flops() }
        let count = megabytes << 18
        let memory = (0..<threads).map { _ in UnsafeMutablePointer<Float>.allocate(capacity: count) }
        for block in memory { block.initialize(repeating: 1, count: count) }
        defer { memory.forEach { $0.deallocate() } }
        let blocks = memory.map { UInt(bitPattern: $0) }
        let times = (0..<7).map { _ -> Double in
            let start = ContinuousClock.now
            _ = onAllThreads { thread in UnsafePointer<Float>(bitPattern: blocks[thread]).map { Double(machine_sum($0, Int64(count))) } ?? 0 }
            return Timing.since(start)
        }
        let report: JSON = ["threads": .int(threads), "instruction_set": .string(try Kernels.instructionSet()), "fma_gflops": .double(1e-9 * rates.reduce(0, +)),
                            "read_gb_per_s": .double(4e-9 * Double(count * threads) / (times.min() ?? 1))]
        print(try report.text(pretty: true))
    }

    /// What each of `threads` threads gives, run at once.
    private func onAllThreads(_ body: @Sendable @escaping (Int) -> Double) -> [Double] {
        let results = Results(count: threads)
        DispatchQueue.concurrentPerform(iterations: threads) { results.set($0, body($0)) }
        return results.values
    }

    private final class Results: @unchecked Sendable {
        private let lock = NSLock()
        private(set) var values: [Double]
        init(count: Int) { values = Array(repeating: 0, count: count) }
        func set(_ index: Int, _ value: Double) { lock.withLock { values[index] = value } }
    }
}
