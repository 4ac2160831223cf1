// Comparisons of computed floats with references. NaN and infinity are compared first, and exactly: a NaN never passes
// for a number, nor the other way round. Then element by element; the worst element is reported, with how many failed.
import Testing

/// A reference value and how far a correct float32 computation may be from it.
public struct Expected: Sendable, Equatable {
    public var value: Double
    /// Absolute; derived from the computation's length and magnitudes, not tuned.
    public var tolerance: Double

    public init(_ value: Double, within tolerance: Double) {
        self.value = value
        self.tolerance = tolerance
    }
}

/// Half a unit in the last place of a float near 1: the relative error of one rounding.
public let roundoff = 0x1p-24

/// The distance between a float of this magnitude and the next (never less than the smallest denormal).
public func ulp(_ value: Double) -> Double {
    let magnitude = abs(Float(value))
    return magnitude.isFinite ? Double(magnitude.ulp) : Double(Float.greatestFiniteMagnitude.ulp)
}

/// nil if `actual` is acceptable; otherwise by how many tolerances it is off (infinity for NaN and infinity mismatches).
private func excess(_ actual: Float, _ expected: Expected) -> Double? {
    let rounded = Float(expected.value) // a reference too large for a float is the infinity it rounds to
    if expected.value.isNaN { return actual.isNaN ? nil : .infinity }
    if rounded.isInfinite { return actual == rounded ? nil : .infinity }
    guard actual.isFinite else { return .infinity }
    let error = abs(Double(actual) - expected.value)
    return error <= expected.tolerance ? nil : error / max(expected.tolerance, 0x1p-149)
}

/// Every element of `actual` within its reference's tolerance; NaN exactly where the reference has NaN, and infinities
/// with their signs. Records one issue that names the worst element.
public func expectClose(_ actual: [Float], _ expected: [Expected], _ what: @autoclosure () -> String = "",
                        sourceLocation: SourceLocation = #_sourceLocation) {
    guard actual.count == expected.count else {
        Issue.record("\(what()): \(actual.count) elements, expected \(expected.count)", sourceLocation: sourceLocation)
        return
    }
    var worst = (index: 0, excess: 0.0), failures = 0
    for i in 0..<actual.count {
        guard let off = excess(actual[i], expected[i]) else { continue }
        failures += 1
        if off > worst.excess { worst = (i, off) }
    }
    guard failures > 0 else { return }
    let i = worst.index
    Issue.record("""
        \(what()): \(failures) of \(actual.count) elements off; worst at \(i): \(actual[i]), expected \
        \(expected[i].value) within \(expected[i].tolerance) (\(worst.excess) times the tolerance)
        """, sourceLocation: sourceLocation)
}

/// The same with one rule for all elements: |actual - expected| <= absolute + relative * |expected|.
public func expectClose(_ actual: [Float], _ expected: [Double], relative: Double, absolute: Double = 0,
                        _ what: @autoclosure () -> String = "", sourceLocation: SourceLocation = #_sourceLocation) {
    expectClose(actual, expected.map { Expected($0, within: absolute + relative * abs($0)) }, what(),
                sourceLocation: sourceLocation)
}

/// Bit for bit the same, signs of zero and NaN payloads included.
public func expectSameBits(_ actual: [Float], _ expected: [Float], _ what: @autoclosure () -> String = "",
                           sourceLocation: SourceLocation = #_sourceLocation) {
    guard actual.count == expected.count else {
        Issue.record("\(what()): \(actual.count) elements, expected \(expected.count)", sourceLocation: sourceLocation)
        return
    }
    var first: Int?, failures = 0
    for i in 0..<actual.count where actual[i].bitPattern != expected[i].bitPattern {
        failures += 1
        if first == nil { first = i }
    }
    guard let i = first else { return }
    Issue.record("""
        \(what()): bits differ in \(failures) of \(actual.count) elements, first at \(i): \(actual[i]) and \(expected[i])
        """, sourceLocation: sourceLocation)
}

/// Bit for bit the same numbers; NaN equals NaN, as the payload of a computed NaN is nobody's promise.
public func expectSameNumbers(_ actual: [Float], _ expected: [Float], _ what: @autoclosure () -> String = "",
                              sourceLocation: SourceLocation = #_sourceLocation) {
    let canonical = { (x: Float) -> Float in x.isNaN ? .nan : x }
    expectSameBits(actual.map(canonical), expected.map(canonical), what(), sourceLocation: sourceLocation)
}
