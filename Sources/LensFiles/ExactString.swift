// Strings told apart by their bytes.
// Swift's `==` and `Dictionary<String, …>` treat canonically equivalent text as one ("é" written with one scalar or
// two); a vocabulary or a checkpoint may hold both, as two entries. What a file names goes by bytes.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A string that equals another only if their UTF-8 bytes are the same; a key for dictionaries of names from files.
public struct ExactString: Sendable, Hashable, CustomStringConvertible {
    public let string: String

    @inline(__always)
    public init(_ string: String) { self.string = string }

    public var description: String { string }

    public static func == (a: ExactString, b: ExactString) -> Bool { sameBytes(a.string, b.string) }

    public func hash(into hasher: inout Hasher) { hashBytes(of: string, into: &hasher) }
}

/// Whether two strings are the same bytes of UTF-8.
@inline(__always)
func sameBytes(_ a: String, _ b: String) -> Bool {
    let (x, y) = (a.utf8, b.utf8)
    if x.count != y.count { return false }
    let same = x.withContiguousStorageIfAvailable { x in
        y.withContiguousStorageIfAvailable { y -> Bool in
            guard let xBase = x.baseAddress, let yBase = y.baseAddress else { return true }
            return memcmp(xBase, yBase, x.count) == 0
        }
    }
    return same.flatMap { $0 } ?? x.elementsEqual(y)
}

/// Hashes the bytes. Hasher is seeded per process, so a file cannot be written to collide.
@inline(__always)
func hashBytes(of text: String, into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
}
