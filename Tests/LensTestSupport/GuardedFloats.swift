// GuardedFloats: an output buffer with guard words on both sides, filled with a marker, at an address that is not
// aligned to anything but a float.
import Testing

/// `count` floats between guard words. `expectIntact` reports any write outside.
public final class GuardedFloats {
    public let count: Int
    /// The first float: 4 bytes past a 64-byte boundary.
    public let base: UnsafeMutablePointer<Float>

    /// A NaN no computation makes: unwritten elements keep it.
    public static let marker = Float(bitPattern: 0x7fc0_beef)
    private static let guardCount = 33
    private let memory: UnsafeMutableRawPointer

    public init(_ count: Int) {
        self.count = count
        let total = count + 2 * Self.guardCount
        memory = .allocate(byteCount: total * 4, alignment: 64)
        let all = memory.bindMemory(to: Float.self, capacity: total)
        all.initialize(repeating: Self.marker, count: total)
        base = all + Self.guardCount
    }

    /// A copy of `values`, for outputs that alias an input.
    public convenience init(_ values: [Float]) {
        self.init(values.count)
        for i in 0..<values.count { base[i] = values[i] }
    }

    deinit { memory.deallocate() }

    public var values: [Float] { Array(UnsafeBufferPointer(start: base, count: count)) }

    /// Elements of a [rows, width] corner of rows `stride` long, starting at column `column`.
    public func rows(_ rows: Int, stride: Int, column: Int, width: Int) -> [Float] {
        var result: [Float] = []
        result.reserveCapacity(rows * width)
        for r in 0..<rows {
            result.append(contentsOf: UnsafeBufferPointer(start: base + r * stride + column, count: width))
        }
        return result
    }

    /// Reports writes before or after the buffer.
    public func expectIntact(_ what: @autoclosure () -> String = "",
                             sourceLocation: SourceLocation = #_sourceLocation) {
        for i in 1...Self.guardCount {
            guard base[-i].bitPattern == Self.marker.bitPattern,
                  base[count + i - 1].bitPattern == Self.marker.bitPattern else {
                Issue.record("\(what()): written \(i) floats outside the buffer", sourceLocation: sourceLocation)
                return
            }
        }
    }

    /// Reports writes between the wanted columns of rows, that is outside column ..< column + width.
    public func expectUntouched(rows: Int, stride: Int, column: Int, width: Int, _ what: @autoclosure () -> String = "",
                                sourceLocation: SourceLocation = #_sourceLocation) {
        for r in 0..<rows {
            for c in 0..<stride where c < column || c >= column + width {
                let at = r * stride + c
                guard at < count, base[at].bitPattern != Self.marker.bitPattern else { continue }
                Issue.record("\(what()): row \(r) written at column \(c)", sourceLocation: sourceLocation)
                return
            }
        }
    }
}

extension Array {
    /// Row i of rows `width` long.
    public func row(_ i: Int, width: Int) -> [Element] { Array(self[(i * width)..<((i + 1) * width)]) }
}
