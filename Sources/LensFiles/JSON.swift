// A JSON value and the strict reading of it. Parsing is in JSONParser.swift, writing in JSONWriter.swift.
// It keeps the order of keys and refuses duplicates (a checkpoint's header must not mean two things).

/// A JSON value (RFC 8259). Objects keep their order.
public enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    /// A number written without fraction or exponent that fits Int.
    case int(Int)
    case double(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral, ExpressibleByNilLiteral {
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int) { self = .int(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) { self = .object(JSONObject(elements)) }
    public init(nilLiteral: ()) { self = .null }
}

extension JSON {
    /// The member `key` of an object; nil if this is no object or has no such key.
    public subscript(key: String) -> JSON? {
        if case .object(let object) = self { return object[key] }
        return nil
    }

    public var isNull: Bool { self == .null }

    public var stringValue: String? { if case .string(let value) = self { return value } else { return nil } }
    public var boolValue: Bool? { if case .bool(let value) = self { return value } else { return nil } }
    public var arrayValue: [JSON]? { if case .array(let value) = self { return value } else { return nil } }
    public var objectValue: JSONObject? { if case .object(let value) = self { return value } else { return nil } }
    public var doubleValue: Double? {
        switch self {
        case .int(let value): return Double(value)
        case .double(let value): return value
        default: return nil
        }
    }
    /// An integer, also where it was written as `2.0` or `1e3`.
    public var intValue: Int? {
        switch self {
        case .int(let value): return value
        case .double(let value): return Int(exactly: value)
        default: return nil
        }
    }

    /// What sort of value this is, for error messages.
    public var typeName: String {
        switch self {
        case .null: return "null"
        case .bool: return "a boolean"
        case .int: return "an integer"
        case .double: return "a number"
        case .string: return "a string"
        case .array: return "an array"
        case .object: return "an object"
        }
    }

    /// A short rendering for error messages: the value itself if it is a scalar, else its type.
    public var summary: String {
        switch self {
        case .null: return "null"
        case .bool(let value): return "\(value)"
        case .int(let value): return "\(value)"
        case .double(let value): return "\(value)"
        case .string(let value): return "\"\(value.prefix(60))\""
        case .array(let values): return "an array of \(values.count)"
        case .object(let object): return "an object of \(object.count) keys"
        }
    }
}

// Reading that throws: used wherever a file must hold a value of a given type.
extension JSON {
    public func asString(at location: String) throws -> String { try require(stringValue, "a string", location) }
    public func asBool(at location: String) throws -> Bool { try require(boolValue, "true or false", location) }
    public func asInt(at location: String) throws -> Int { try require(intValue, "an integer", location) }
    public func asDouble(at location: String) throws -> Double { try require(doubleValue, "a number", location) }
    public func asArray(at location: String) throws -> [JSON] { try require(arrayValue, "an array", location) }
    public func asObject(at location: String) throws -> JSONObject { try require(objectValue, "an object", location) }

    private func require<T>(_ value: T?, _ expected: String, _ location: String) throws -> T {
        guard let value else {
            throw LensError(.format, "wrong type of JSON value", at: location, expected: expected, found: summary)
        }
        return value
    }
}
