// Strict reading of a GGUF file's metadata about its model: the keys under its architecture's name. Every one that is read is
// ticked off, and one that nobody reads is an error, so that no knob that changes the numbers is dropped silently.

import LensFiles

/// Reads `ARCHITECTURE.key` for each key.
final class GGUFMetadata {
    let file: GGUFFile
    let architecture: String
    private var handled: Set<String> = []

    init(_ file: GGUFFile, architecture: String) {
        self.file = file
        self.architecture = architecture
    }

    /// Where `key` is, for errors.
    func place(_ key: String) -> String { "\(file.location): \(architecture).\(key)" }

    func value(_ key: String) -> GGUFValue? {
        handled.insert("\(architecture).\(key)")
        return file["\(architecture).\(key)"]
    }

    /// An integer; without a default the key must be there. A list of equal integers, one for each layer, counts as one.
    func int(_ key: String, default fallback: Int? = nil) throws -> Int {
        guard let value = value(key) else {
            guard let fallback else { throw LensError(.config, "missing metadata of a GGUF file", at: place(key)) }
            return fallback
        }
        if let list = value.arrayValue?.integers, let first = list.first, list.allSatisfy({ $0 == first }) { return first }
        guard let number = value.intValue else { throw wrong(key, expected: "an integer, the same for every layer", value) }
        return number
    }

    /// A finite number. One of float32 is the shortest decimal that is that float32: 1e-5, not 9.99999974e-06.
    func double(_ key: String, default fallback: Double? = nil) throws -> Double {
        guard let value = value(key) else {
            guard let fallback else { throw LensError(.config, "missing metadata of a GGUF file", at: place(key)) }
            return fallback
        }
        guard let number = value.doubleValue, number.isFinite else { throw wrong(key, expected: "a finite number", value) }
        let single = Float(number)
        return Double(single) == number ? Double(single.description) ?? number : number
    }

    func string(_ key: String, default fallback: String) throws -> String {
        guard let value = value(key) else { return fallback }
        guard let text = value.stringValue else { throw wrong(key, expected: "a string", value) }
        return text
    }

    /// The integer whose root is one over the number.
    func squaredInverse(_ key: String) throws -> Int {
        let scale = try double(key)
        guard scale > 0, let number = Int(exactly: (1 / (scale * scale)).rounded()) else { throw wrong(key, expected: "one over a root", value(key)) }
        return number
    }

    /// Refuses `key` unless it is absent or `expected`: for mechanisms that are not built.
    func require(_ key: String, _ expected: Double) throws {
        guard let value = value(key), value.doubleValue != expected else { return }
        throw wrong(key, expected: "\(expected)", value)
    }

    func wrong(_ key: String, expected: String, _ value: GGUFValue?) -> LensError {
        LensError(.config, "unsupported metadata of a GGUF file", at: place(key), expected: expected,
                  found: value?.stringValue ?? value?.doubleValue.map { "\($0)" } ?? value?.typeName ?? "nothing")
    }

    /// - Throws: `LensError(.config)` naming the first key under the architecture's name that nobody read.
    func finish(ignoring ignored: Set<String> = []) throws {
        let prefix = architecture + "."
        for key in file.keys where key.hasPrefix(prefix) && !handled.contains(key) && !ignored.contains(String(key.dropFirst(prefix.count))) {
            throw LensError(.config, "unknown metadata of a GGUF file", at: "\(file.location): \(key)",
                            advice: "it may change the model's numbers; load the model the file was made from")
        }
    }
}
