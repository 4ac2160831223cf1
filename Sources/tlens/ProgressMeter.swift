// Progress of work in known steps: how far, and about how long still. It shows itself only on a terminal, and only once the
// work has lasted a second.

import TransformerLens

/// Told after each step; shows `patching 12/192, 6 %, about 40 s left`.
final class ProgressMeter {
    private let progress: Progress
    private let what: String
    private let start = ContinuousClock.now
    private var shown: ContinuousClock.Instant?

    init(_ what: String, _ output: OutputOptions) {
        self.what = what
        progress = Progress(output)
    }

    /// - Parameter total: 0 where nobody knows it.
    func advance(to done: Int, of total: Int) {
        let now = ContinuousClock.now, elapsed = seconds(now - start)
        guard elapsed >= 1, shown.map({ seconds(now - $0) >= 0.2 }) ?? true else { return }
        shown = now
        guard total > 0 else { return progress.show("\(what) \(grouped(done))") }
        let left = done > 0 ? elapsed * Double(total - done) / Double(done) : 0
        progress.show("\(what) \(grouped(done))/\(grouped(total)), \(100 * done / total) %, about \(Self.duration(left)) left")
    }

    /// Takes the line away.
    func finish() { if shown != nil { progress.clear() } }

    private func seconds(_ duration: Duration) -> Double {
        Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
    }

    /// `40 s`, `3 min 20 s`, `2 h 5 min`.
    static func duration(_ seconds: Double) -> String {
        let whole = Int(min(max(0, seconds), 1e9).rounded())
        if whole < 60 { return "\(whole) s" }
        if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
        return "\(whole / 3600) h \(whole % 3600 / 60) min"
    }
}
