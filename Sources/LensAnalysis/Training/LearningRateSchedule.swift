// How the learning rate changes over a run: a warm-up, then constant, linear or cosine decay, or steps. The numbers are those
// of transformers' schedules (`get_…_schedule_with_warmup`) and torch's StepLR.

import LensFiles
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A factor on the learning rate for each step.
public struct LearningRateSchedule: Sendable, Hashable {
    /// What comes after the warm-up.
    public enum Shape: Sendable, Hashable {
        case constant
        /// Straight down to `floor` at the last step.
        case linear(floor: Double = 0)
        /// Half a cosine down to `floor` at the last step.
        case cosine(floor: Double = 0)
        /// Times `gamma` every `size` steps.
        case step(size: Int, gamma: Double = 0.1)

        /// Its name in settings.
        public var name: String {
            switch self {
            case .constant: "constant"
            case .linear: "linear"
            case .cosine: "cosine"
            case .step: "step"
            }
        }
    }

    public var shape: Shape
    /// Steps over which the rate grows linearly from 0, which the first step has.
    public var warmupSteps: Int

    public init(_ shape: Shape = .constant, warmupSteps: Int = 0) {
        self.shape = shape
        self.warmupSteps = warmupSteps
    }

    /// - Throws: `LensError(.usage)` for a value out of range.
    public func validate() throws {
        guard warmupSteps >= 0 else { throw LensError(.usage, "warm-up out of range", expected: "steps from 0", found: "\(warmupSteps)") }
        switch shape {
        case .linear(let floor), .cosine(let floor):
            guard (0...1).contains(floor) else { throw LensError(.usage, "the schedule's floor out of range", expected: "0 to 1", found: "\(floor)") }
        case .step(let size, let gamma):
            guard size >= 1, gamma > 0, gamma.isFinite else {
                throw LensError(.usage, "steps of the learning rate out of range", expected: "a size from 1, a factor above 0", found: "\(size), \(gamma)")
            }
        case .constant: break
        }
    }

    /// The factor of a step, from 0, of `total`.
    public func factor(step: Int, of total: Int) -> Double {
        if step < warmupSteps { return Double(step) / Double(max(1, warmupSteps)) }
        let left = min(1, Double(step - warmupSteps) / Double(max(1, total - warmupSteps)))
        switch shape {
        case .constant: return 1
        case .linear(let floor): return floor + (1 - floor) * (1 - left)
        case .cosine(let floor): return floor + (1 - floor) * max(0, 0.5 * (1 + cos(.pi * left)))
        case .step(let size, let gamma): return pow(gamma, Double((step - warmupSteps) / size))
        }
    }
}
