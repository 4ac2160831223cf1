// Strict reading of a configuration: every key that is read is ticked off, and a key that nobody reads is an error. So a
// knob that changes the numbers can never be dropped silently.

/// Reads a JSON object key by key and refuses what it was not asked about.
public final class ConfigReader {
    private let object: JSONObject
    /// The file, for errors.
    public let location: String
    private var handled: Set<String> = []

    /// - Throws: `LensError(.format)` if `json` is no object.
    public init(_ json: JSON, at location: String) throws {
        object = try json.asObject(at: location)
        self.location = location
    }

    /// The value of `key`; nil if it is absent or null.
    public func value(_ key: String) -> JSON? {
        handled.insert(key)
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    /// Whether `key` has a value, without reading it.
    public func has(_ key: String) -> Bool { object[key].map { !$0.isNull } ?? false }

    /// Whether `key` is there and null.
    public func isNull(_ key: String) -> Bool {
        handled.insert(key)
        return object[key]?.isNull ?? false
    }

    /// An integer; without a default the key must be there.
    public func int(_ key: String, default fallback: Int? = nil) throws -> Int {
        try read(key, fallback) { try $0.asInt(at: $1) }
    }

    /// A finite number; without a default the key must be there.
    public func double(_ key: String, default fallback: Double? = nil) throws -> Double {
        try read(key, fallback) { try $0.asDouble(at: $1) }
    }

    public func bool(_ key: String, default fallback: Bool? = nil) throws -> Bool {
        try read(key, fallback) { try $0.asBool(at: $1) }
    }

    public func string(_ key: String, default fallback: String? = nil) throws -> String {
        try read(key, fallback) { try $0.asString(at: $1) }
    }

    /// A list of strings; nil if absent.
    public func strings(_ key: String) throws -> [String]? {
        guard let value = value(key) else { return nil }
        let strings = value.arrayValue?.map(\.stringValue)
        guard let strings, !strings.contains(nil) else { throw invalid(key, expected: "a list of strings") }
        return strings.compactMap(\.self)
    }

    /// A nested object, itself read strictly; nil if absent. Call its `finish` too.
    public func nested(_ key: String) throws -> ConfigReader? {
        guard let value = value(key) else { return nil }
        guard value.objectValue != nil else { throw invalid(key, expected: "an object") }
        return try ConfigReader(value, at: "\(location): \(key)")
    }

    private func read<T>(_ key: String, _ fallback: T?, _ convert: (JSON, String) throws -> T) throws -> T {
        if let value = value(key) {
            do { return try convert(value, "\(location): \(key)") } catch let error as LensError {
                throw LensError(.config, error.what, at: error.location, expected: error.expected, found: error.found)
            }
        }
        guard let fallback else { throw LensError(.config, "missing configuration key", at: "\(location): \(key)") }
        return fallback
    }

    /// Requires `key` to be absent or `expected`: for mechanisms that are not built.
    public func require(_ key: String, _ expected: JSON, because reason: String? = nil) throws {
        guard let value = value(key), value != expected, value.doubleValue == nil || value.doubleValue != expected.doubleValue else { return }
        throw LensError(.config, "unsupported configuration", at: "\(location): \(key)", expected: expected.summary,
                        found: value.summary, advice: reason)
    }

    /// An error about the value of `key`.
    public func invalid(_ key: String, expected: String) -> LensError {
        LensError(.config, "unsupported configuration", at: "\(location): \(key)", expected: expected,
                  found: object[key]?.summary ?? "nothing")
    }

    /// Ends the reading.
    /// - Parameter ignored: keys that may be there and change no number.
    /// - Throws: `LensError(.config)` naming the first key with a value that nobody read.
    public func finish(ignoring ignored: Set<String> = []) throws {
        let known = handled.union(ignored)
        for (key, value) in object.pairs where !value.isNull && !known.contains(key) {
            throw LensError(.config, "unknown configuration key", at: "\(location): \(key)", found: value.summary,
                            advice: nearestName(to: key, among: handled.sorted()).map { "did you mean \($0)? Remove the key if it changes nothing" }
                                ?? "remove the key if it changes nothing")
        }
    }
}
