// The wire format of protocol buffers, read field by field and never past the end of a message.
// Groups, which nothing here uses, are refused; so are numbers of fields and lengths that cannot be.
import LensFiles

/// Reads one message's fields.
struct ProtobufReader {
    /// A field's value as it is on the wire.
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case bytes(ArraySlice<UInt8>)
    }

    private let data: ArraySlice<UInt8>
    private var at: Int
    private let location: String

    init(_ data: ArraySlice<UInt8>, at location: String) {
        self.data = data
        self.at = data.startIndex
        self.location = location
    }

    private func fail(_ what: String) -> LensError {
        LensError(.format, what, at: "\(location), byte \(at)", expected: "a protocol buffer")
    }

    /// The next field; nil at the end of the message.
    mutating func next() throws -> (number: Int, value: Value)? {
        guard at < data.endIndex else { return nil }
        let key = try varint()
        let number = Int(clamping: key >> 3)
        guard number > 0, number < 1 << 29 else { throw fail("impossible number of a field") }
        switch key & 7 {
        case 0: return (number, .varint(try varint()))
        case 1: return (number, .fixed64(try fixed(8)))
        case 2:
            let length = try varint()
            guard length <= UInt64(data.endIndex - at) else { throw fail("field longer than its message") }
            let start = at
            at += Int(length)
            return (number, .bytes(data[start..<at]))
        case 5: return (number, .fixed32(UInt32(truncatingIfNeeded: try fixed(4))))
        default: throw fail("field of an unknown wire type")
        }
    }

    private mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            guard at < data.endIndex else { throw fail("number cut short") }
            let byte = data[at]
            at += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw fail("number of more than ten bytes")
    }

    private mutating func fixed(_ count: Int) throws -> UInt64 {
        guard data.endIndex - at >= count else { throw fail("number cut short") }
        defer { at += count }
        return data[at..<(at + count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

extension ProtobufReader.Value {
    func asInt(at location: String) throws -> Int {
        guard case .varint(let value) = self else { throw wrong("an integer", location) }
        return Int(truncatingIfNeeded: Int64(bitPattern: value))
    }

    func asBool(at location: String) throws -> Bool { try asInt(at: location) != 0 }

    func asFloat(at location: String) throws -> Float {
        guard case .fixed32(let bits) = self else { throw wrong("a 32-bit number", location) }
        return Float(bitPattern: bits)
    }

    func asBytes(at location: String) throws -> ArraySlice<UInt8> {
        guard case .bytes(let bytes) = self else { throw wrong("bytes", location) }
        return bytes
    }

    func asString(at location: String) throws -> String {
        guard let text = String(validating: try asBytes(at: location), as: UTF8.self) else { throw wrong("UTF-8", location) }
        return text
    }

    private func wrong(_ expected: String, _ location: String) -> LensError {
        LensError(.format, "field of the wrong type", at: location, expected: expected)
    }
}
