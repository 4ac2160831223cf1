// Times of repeated runs, reported as bench/python/forward.py reports them.

import TransformerLens

/// Median, best and all times of a call, in seconds.
struct Timing {
    let runs: [Double]

    init(runs: [Double]) { self.runs = runs }

    var median: Double { runs.sorted()[runs.count / 2] }
    var best: Double { runs.min() ?? 0 }

    /// Runs `body` once uncounted, then for `seconds`, three times at least.
    init(seconds: Double, _ body: () throws -> Void) throws {
        try body()
        var runs: [Double] = []
        let start = ContinuousClock.now
        while runs.count < 3 || Self.since(start) < seconds {
            let before = ContinuousClock.now
            try body()
            runs.append(Self.since(before))
        }
        self.runs = runs
    }

    static func since(_ start: ContinuousClock.Instant) -> Double {
        let elapsed = (ContinuousClock.now - start).components
        return Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
    }

    var json: JSONObject {
        JSONObject([("median_s", .double(median)), ("best_s", .double(best)), ("runs_s", .array(runs.map(JSON.double)))])
    }
}
