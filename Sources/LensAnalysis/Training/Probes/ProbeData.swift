// Activations with labels, as a probe wants them: one row for each labelled place, some rows held out.

import LensFiles
import LensHooks
import LensModel
import LensTensor

/// Rows of activations and their labels.
public struct ProbeData: Sendable {
    /// `[rows, width]`
    public let x: Tensor
    public let labels: [Int]

    /// - Throws: `LensError(.shape)` unless there is a label for each row.
    public init(_ x: Tensor, labels: [Int]) throws {
        guard x.rank == 2, x.shape[0] == labels.count else { throw LensError(.shape, "activations and labels", expected: "[rows, width] and as many labels", found: "\(x.shape), \(labels.count)") }
        self.x = x
        self.labels = labels
    }

    /// The activations at a site, where there is a label.
    /// - Parameters:
    ///   - name: the site, by name or shorthand. Its axes after `[batch, pos]` are taken together.
    ///   - labels: for each row of tokens and position; negative where there is none. - batchSize: rows run at once.
    /// - Throws: `LensError(.name)` for an unknown site, `(.shape)` for one that is not of positions; what runs throw.
    public init(_ model: some HasTransformer, at name: String, tokens: IntTensor, labels: IntTensor, batchSize: Int = 32) throws {
        guard tokens.rank == 2, labels.shape == tokens.shape, batchSize > 0 else {
            throw LensError(.shape, "tokens and labels", expected: "both [batch, pos]", found: "\(tokens.shape), \(labels.shape)")
        }
        let pos = tokens.shape[1]
        var parts: [Tensor] = [], kept: [Int] = []
        for start in stride(from: 0, to: tokens.shape[0], by: batchSize) {
            let rows = start..<min(tokens.shape[0], start + batchSize)
            let cache = try model.model.run(.tokens(IntTensor(rows: rows.map(tokens.row))), .init(cache: .names([name]), returnType: .none)).cache
            let activation = try cache[name]
            guard activation.rank >= 3, activation.shape[0] == rows.count, activation.shape[1] == pos else {
                throw LensError(.shape, "an activation to probe", at: name, expected: "[batch, pos, …]", found: "\(activation.shape)")
            }
            let values = rows.flatMap(labels.row), places = values.indices.filter { values[$0] >= 0 }
            parts.append(try activation.reshaped([rows.count * pos, -1]).gatherRows(places))
            kept += places.map { values[$0] }
        }
        try self.init(Tensor.concatenated(parts), labels: kept)
    }

    /// Rows in random order, `testFraction` of them apart.
    /// - Throws: `LensError(.usage)` if one of the parts is empty.
    public func split(testFraction: Double = 0.2, seed: UInt64 = 0) throws -> (train: ProbeData, test: ProbeData) {
        var random = RandomStream(seed: seed, "probe")
        let order = random.permutation(labels.count), count = Int(Double(labels.count) * testFraction)
        guard count > 0, count < labels.count else {
            throw LensError(.usage, "a split with an empty part", expected: "a share between 0 and 1 of enough rows", found: "\(testFraction) of \(labels.count)")
        }
        func part(_ rows: [Int]) throws -> ProbeData { try ProbeData(x.gatherRows(rows), labels: rows.map { labels[$0] }) }
        return (try part(order[count...].sorted()), try part(order[..<count].sorted()))
    }
}

/// A probe, and how well it reads rows it was fitted on and rows it never saw.
public struct ProbeResult: Sendable {
    public let probe: LinearProbe
    public let trainAccuracy: Double
    public let testAccuracy: Double
}

extension ProbeData {
    /// How a probe is fitted.
    public enum Kind: Sendable, Hashable {
        /// Multinomial logistic regression.
        case logistic(l2: Double = 1e-3)
        /// Least squares on one column for each class, 1 where it is the label.
        case ridge(l2: Double = 1e-3)
    }

    /// Fits a probe on part of the rows and measures it on the rest.
    /// - Throws: as `split` and the fits.
    public func probe(_ kind: Kind = .logistic(), testFraction: Double = 0.2, seed: UInt64 = 0) throws -> ProbeResult {
        let (train, test) = try split(testFraction: testFraction, seed: seed), classes = max(2, (labels.max() ?? 0) + 1)
        let probe: LinearProbe
        switch kind {
        case .logistic(let l2): probe = try .logistic(train.x, labels: train.labels, classes: classes, l2: l2)
        case .ridge(let l2):
            var targets = [Float](repeating: 0, count: train.labels.count * classes)
            for (row, label) in train.labels.enumerated() where label >= 0 { targets[row * classes + label] = 1 }
            probe = try .leastSquares(train.x, targets: Tensor(targets, shape: [train.labels.count, classes]), l2: l2)
        }
        return ProbeResult(probe: probe, trainAccuracy: try probe.accuracy(train.x, labels: train.labels), testAccuracy: try probe.accuracy(test.x, labels: test.labels))
    }
}
