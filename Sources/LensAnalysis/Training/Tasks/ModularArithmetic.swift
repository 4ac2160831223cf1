// Modular arithmetic: `a ∘ b =` and the answer, every pair of numbers once. The task that groks (Power et al. 2022, Nanda et
// al. 2023).

import LensFiles
import LensTensor

/// All pairs of numbers below a modulus, split once into those trained on and those held out.
public struct ModularArithmetic: Sendable {
    /// What is computed of a and b, modulo p.
    public enum Operation: String, Sendable, Hashable, CaseIterable {
        case add, subtract, multiply
        /// a / b, for a prime modulus and b ≠ 0.
        case divide
        /// a² + b²
        case sumOfSquares = "sum_of_squares"
        /// a² + ab + b²
        case quadratic
        /// a³ + ab² + b
        case cubic
    }

    public let operation: Operation
    public let modulus: Int
    /// Rows `[a, b, =]`, and their answers at `=`.
    public let data: TokenRowsData

    /// - Parameters:
    ///   - modulus: p. Numbers are tokens 0 ..< p, `=` is token p.
    ///   - trainFraction: of the pairs; which ones, the seed says.
    /// - Throws: `LensError(.usage)` for a modulus or a fraction out of range, or division by a modulus that is no prime.
    public init(_ operation: Operation = .add, modulus: Int = 113, trainFraction: Double = 0.3, seed: UInt64 = 0) throws {
        guard (2...4096).contains(modulus), trainFraction > 0, trainFraction <= 1 else {
            throw LensError(.usage, "modular arithmetic out of range", expected: "a modulus of 2 to 4096, a share of pairs above 0 up to 1", found: "\(modulus), \(trainFraction)")
        }
        if operation == .divide, (2..<modulus).contains(where: { $0 * $0 <= modulus && modulus % $0 == 0 }) {
            throw LensError(.usage, "division needs a prime modulus", found: "\(modulus)")
        }
        self.operation = operation
        self.modulus = modulus
        let pairs = (0..<modulus).flatMap { a in ((operation == .divide ? 1 : 0)..<modulus).map { (a, $0) } }
        var random = RandomStream(seed: seed, "modular arithmetic")
        let order = random.permutation(pairs.count), count = max(1, Int(Double(pairs.count) * trainFraction))
        // Within each part in order of a and b: which pairs are there is random, not where they stand.
        let chosen = order[..<count].sorted().map { pairs[$0] } + order[count...].sorted().map { pairs[$0] }
        let inverses = operation == .divide ? Self.inverses(modulus) : []
        let rows = chosen.map { [$0.0, $0.1, modulus] }
        let targets = chosen.map { a, b in
            [TrainingBatch.ignored, TrainingBatch.ignored, Self.answer(operation, a, b, modulus, inverses)]
        }
        data = try TokenRowsData(training: Array(rows[..<count]), heldOut: Array(rows[count...]), targets: targets, vocabularySize: modulus + 1,
                                 outputSize: modulus, seed: seed, name: "\(operation.rawValue) modulo \(modulus)")
    }

    private static func answer(_ operation: Operation, _ a: Int, _ b: Int, _ p: Int, _ inverses: [Int]) -> Int {
        switch operation {
        case .add: (a + b) % p
        case .subtract: (a - b + p) % p
        case .multiply: a * b % p
        case .divide: a * inverses[b] % p
        case .sumOfSquares: (a * a + b * b) % p
        case .quadratic: (a * a + a * b + b * b) % p
        case .cubic: (a * a % p * a + a * b % p * b + b) % p
        }
    }

    /// 1 / b for each b, modulo a prime.
    private static func inverses(_ p: Int) -> [Int] {
        var inverses = [0, 1]
        for b in 2..<max(2, p) { inverses.append((p - p / b) * inverses[p % b] % p) }
        return inverses
    }
}
