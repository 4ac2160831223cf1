// Reading the members of a JSON object whose types are known, with errors that say where the member is.
import LensFiles

/// The members of one JSON object. A member that is null counts as absent.
struct Fields {
    let object: JSONObject
    let location: String

    init(_ json: JSON, at location: String) throws {
        object = try json.asObject(at: location)
        self.location = location
    }

    func optional(_ key: String) -> JSON? {
        guard let value = object[key] else { return nil }
        if case .null = value { return nil }
        return value
    }

    func required(_ key: String) throws -> JSON {
        guard let value = optional(key) else {
            throw LensError(.format, "missing member", at: location, expected: "\"\(key)\"")
        }
        return value
    }

    func place(_ key: String) -> String { "\(location).\(key)" }

    func string(_ key: String) throws -> String? { try optional(key)?.asString(at: place(key)) }
    func bool(_ key: String) throws -> Bool? { try optional(key)?.asBool(at: place(key)) }
    func int(_ key: String) throws -> Int? { try optional(key)?.asInt(at: place(key)) }
    func double(_ key: String) throws -> Double? { try optional(key)?.asDouble(at: place(key)) }

    func requiredString(_ key: String) throws -> String { try required(key).asString(at: place(key)) }
    func requiredBool(_ key: String) throws -> Bool { try required(key).asBool(at: place(key)) }

    /// A count or id: an integer from 0 to 2³¹ − 2.
    func requiredIndex(_ key: String) throws -> Int {
        let value = try required(key).asInt(at: place(key))
        guard value >= 0, value < Int(Int32.max) else {
            throw LensError(.format, "number out of range", at: place(key), expected: "0 to \(Int32.max - 1)",
                            found: "\(value)")
        }
        return value
    }

    /// One of an enumeration's raw values.
    func choice<Choice: RawRepresentable & CaseIterable>(_ key: String, _: Choice.Type) throws -> Choice
    where Choice.RawValue == String {
        let name = try requiredString(key)
        guard let found = Choice(rawValue: name) else {
            throw LensError(.format, "unknown \(key)", at: place(key),
                            expected: Choice.allCases.map(\.rawValue).joined(separator: ", "), found: name)
        }
        return found
    }

    /// One character, as UTF-8.
    func requiredScalar(_ key: String) throws -> [UInt8] {
        let text = try requiredString(key)
        guard text.unicodeScalars.count == 1 else {
            throw LensError(.format, "not one character", at: place(key), expected: "one character", found: "\"\(text)\"")
        }
        return Array(text.utf8)
    }

    /// The error for a component nobody here knows.
    func unsupported(_ stage: String, _ type: String, known: [String]) -> LensError {
        LensError(.format, "unsupported \(stage)", at: place("type"), expected: known.joined(separator: ", "), found: type)
    }
}
