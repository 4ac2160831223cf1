// A folder of a test's own, removed with it.

import Foundation

/// `place("name")` is a path in it.
final class TemporaryPlace {
    let path = NSTemporaryDirectory() + "lens-analysis-" + UUID().uuidString

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }
}
