// The values of a GGUF file's metadata. Integers of every width are kept as one signed or unsigned case; arrays are kept
// by element type, so that a long one takes no more than eight bytes an element.

/// One metadata value of a GGUF file.
public enum GGUFValue: Sendable, Hashable {
    /// INT8, INT16, INT32 or INT64.
    case int(Int64)
    /// UINT8, UINT16, UINT32 or UINT64.
    case uint(UInt64)
    /// FLOAT32 or FLOAT64.
    case float(Double)
    case bool(Bool)
    case string(String)
    case array(GGUFArray)

    /// The integer, if it is one that fits Int.
    public var intValue: Int? {
        switch self {
        case .int(let value): return Int(exactly: value)
        case .uint(let value): return Int(exactly: value)
        default: return nil
        }
    }

    /// The number, integers included.
    public var doubleValue: Double? {
        switch self {
        case .int(let value): return Double(value)
        case .uint(let value): return Double(value)
        case .float(let value): return value
        default: return nil
        }
    }

    public var boolValue: Bool? { if case .bool(let value) = self { return value } else { return nil } }
    public var stringValue: String? { if case .string(let value) = self { return value } else { return nil } }
    public var arrayValue: GGUFArray? { if case .array(let value) = self { return value } else { return nil } }

    /// What sort of value this is, for error messages.
    public var typeName: String {
        switch self {
        case .int, .uint: return "an integer"
        case .float: return "a number"
        case .bool: return "a boolean"
        case .string: return "a string"
        case .array(let array): return "an array of \(array.count)"
        }
    }
}

/// An array of a GGUF file's metadata: elements of one type.
public enum GGUFArray: Sendable, Hashable {
    /// UINT8 and INT8, as the bytes they are.
    case bytes([UInt8], isSigned: Bool)
    case ints([Int64])
    case uints([UInt64])
    case floats([Double])
    case bools([Bool])
    case strings([String])
    case arrays([GGUFArray])

    /// How many elements there are.
    public var count: Int {
        switch self {
        case .bytes(let list, _): return list.count
        case .ints(let list): return list.count
        case .uints(let list): return list.count
        case .floats(let list): return list.count
        case .bools(let list): return list.count
        case .strings(let list): return list.count
        case .arrays(let list): return list.count
        }
    }

    /// The strings, if it is an array of them.
    public var strings: [String]? { if case .strings(let list) = self { return list } else { return nil } }

    /// The numbers, integers included.
    public var doubles: [Double]? {
        switch self {
        case .floats(let list): return list
        case .ints(let list): return list.map(Double.init)
        case .uints(let list): return list.map(Double.init)
        case .bytes(let list, let isSigned): return list.map { isSigned ? Double(Int8(bitPattern: $0)) : Double($0) }
        default: return nil
        }
    }

    /// The integers, if they all fit Int.
    public var integers: [Int]? {
        switch self {
        case .ints(let list): return list.map(Int.init)
        case .uints(let list):
            let fitting = list.compactMap(Int.init(exactly:))
            return fitting.count == list.count ? fitting : nil
        case .bytes(let list, let isSigned): return list.map { isSigned ? Int(Int8(bitPattern: $0)) : Int($0) }
        default: return nil
        }
    }
}
