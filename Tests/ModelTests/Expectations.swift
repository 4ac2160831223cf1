// Expectations over tensors and errors, and the models of the golden folders.

import Foundation
import LensTestSupport
import Synchronization
import Testing
import TransformerLens

/// Expects `actual` to be the reference within the goldens' tolerance. - Returns: the largest error, relative.
@discardableResult
func expectClose(_ actual: Tensor?, _ expected: Tensor, _ what: String, tolerance: Double = goldenTolerance,
                 sourceLocation: SourceLocation = #_sourceLocation) -> Double {
    guard let actual else {
        Issue.record("\(what): absent", sourceLocation: sourceLocation)
        return .infinity
    }
    let difference = difference(actual, expected, tolerance: tolerance)
    if let problem = difference.problem { Issue.record("\(what): \(problem)", sourceLocation: sourceLocation) }
    return difference.largest
}

/// Expects the same bits.
func expectSameBits(_ actual: Tensor?, _ expected: Tensor?, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    if let problem = bitDifference(actual, expected) { Issue.record("\(what): \(problem)", sourceLocation: sourceLocation) }
}

/// Expects the same activations, bit for bit.
func expectSameBits(_ actual: ActivationCache, _ expected: ActivationCache, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(actual.names == expected.names, sourceLocation: sourceLocation)
    for (name, activation) in expected.entries {
        expectSameBits(try? actual[name], activation, "\(what), \(name)", sourceLocation: sourceLocation)
    }
}

/// Expects a `LensError` of `kind` whose line holds every part.
func expectError<R>(_ kind: LensError.Kind, _ parts: String..., sourceLocation: SourceLocation = #_sourceLocation, from body: () throws -> R) {
    do {
        _ = try body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch let error as LensError {
        #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
        for part in parts { #expect("\(error)".contains(part), "\(error)", sourceLocation: sourceLocation) }
    } catch {
        Issue.record("not a LensError: \(error)", sourceLocation: sourceLocation)
    }
}

/// A folder of its own, removed at the end.
func withTemporaryFolder<R>(_ body: (String) throws -> R) throws -> R {
    let folder = NSTemporaryDirectory() + "lens-tests-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try body(folder)
}

/// The models of the golden folders, each loaded once.
enum Models {
    private static let loaded = Mutex<[String: Transformer]>([:])

    static func named(_ name: String) throws -> Transformer {
        if let model = loaded.withLock({ $0[name] }) { return model }
        let folder = "\(TestFolders.goldens)/\(name)"
        let model = name.hasPrefix("native-") ? try fromStateDict(folder) : try ModelFolder(path: folder).load()
        loaded.withLock { $0[name] = model }
        return model
    }

    /// From `tl_config.json` and `state_dict.safetensors`: TransformerLens' own configuration and parameters.
    static func fromStateDict(_ folder: String) throws -> Transformer {
        let config = try ModelConfig(hookedTransformerConfig: JSON.parse(file: folder + "/tl_config.json", limit: 1 << 20))
        return try Transformer(config: config, savedParameters: SafetensorsFile(path: folder + "/state_dict.safetensors"))
    }
}
