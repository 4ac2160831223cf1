// Expectations over tensors and errors.

import LensFiles
import LensTensor
import LensTestSupport
import Testing

/// 0, 1, 2, … in `shape`.
func counting(_ shape: Int...) throws -> Tensor { try Tensor((0..<shape.reduce(1, *)).map(Float.init), shape: shape) }

func expectElements(_ tensor: Tensor, _ expected: [Float], shape: [Int]? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(tensor.array == expected, sourceLocation: sourceLocation)
    if let shape { #expect(tensor.shape == shape, sourceLocation: sourceLocation) }
}

func expectSameBits(_ actual: Tensor?, _ expected: Tensor?, _ what: String, sourceLocation: SourceLocation = #_sourceLocation) {
    if let problem = bitDifference(actual, expected) { Issue.record("\(what): \(problem)", sourceLocation: sourceLocation) }
}

/// Expects a `LensError` of `kind`.
func expectError<R>(_ kind: LensError.Kind = .shape, _ what: String = "", sourceLocation: SourceLocation = #_sourceLocation, from body: () throws -> R) {
    do {
        _ = try body()
        Issue.record("nothing was thrown: \(what)", sourceLocation: sourceLocation)
    } catch let error as LensError {
        #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
    } catch {
        Issue.record("not a LensError: \(error)", sourceLocation: sourceLocation)
    }
}
