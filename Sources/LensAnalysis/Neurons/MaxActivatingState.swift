// A search for activating text written down, so that it can be gone on from: the examples, and the place in the file. It
// refuses a state of another search.

import LensFiles

/// What a state file holds.
public struct MaxActivatingState: Sendable {
    public var search: MaxActivating
    public var place: TokenRows.Place
    /// What the search is of (model, text, row length): a state is gone on from only by the same.
    public let subject: String

    public init(_ search: MaxActivating, place: TokenRows.Place, subject: String) {
        self.search = search
        self.place = place
        self.subject = subject
    }

    private static let version = 1

    /// Writes the state to `path`: to the side first, then renamed, so that the file is whole at every moment.
    /// - Throws: `LensError(.file)`.
    public func write(to path: String) throws {
        let file = try AtomicFileWriter(path: path)
        try file.write(try json.utf8())
        try file.commit()
    }

    private var json: JSON {
        ["version": .int(Self.version), "subject": .string(subject), "activation": .string(search.activationName), "keep": .int(search.count),
         "rows": .int(search.rows), "tokens": .int(search.tokens), "offset": .int(place.offset), "pending": ints(place.pending),
         "neurons": .array(search.neurons.indices.map { index in
             ["layer": .int(search.neurons[index].layer), "neuron": .int(search.neurons[index].neuron), "firing": .int(search.firing[index]),
              "examples": .array(search.examples[index].map { example in
                  ["row": .int(example.row), "position": .int(example.position), "tokens": ints(example.tokens),
                   // As bits: the same numbers come back.
                   "activations": .array(example.activations.map { .int(Int($0.bitPattern)) })]
              })]
         })]
    }

    private func ints(_ values: [Int]) -> JSON { .array(values.map(JSON.int)) }

    /// Reads a state of the same search.
    /// - Parameter fresh: the search as it would begin.
    /// - Throws: `LensError(.file)`, `(.format)` for no state, `(.usage)` for one of another search.
    public init(contentsOf path: String, of fresh: MaxActivating, subject: String) throws {
        let json = try JSON.parse(file: path, limit: 1 << 30)
        func field(_ json: JSON, _ name: String) throws -> Int { try (json[name] ?? .null).asInt(at: "\(path): \(name)") }
        guard try field(json, "version") == Self.version else {
            throw LensError(.format, "a state of another version", at: path, expected: "\(Self.version)", found: "\(try field(json, "version"))")
        }
        let neurons = try (json["neurons"] ?? .null).asArray(at: "\(path): neurons")
        let indices = try neurons.map { NeuronIndex(try field($0, "layer"), try field($0, "neuron")) }
        let kept = try field(json, "keep"), activation = try (json["activation"] ?? .null).asString(at: "\(path): activation")
        let found = try (json["subject"] ?? .null).asString(at: "\(path): subject")
        guard indices == fresh.neurons, kept == fresh.count, activation == fresh.activationName, found == subject else {
            throw LensError(.usage, "a state of another search", at: path, expected: "\(subject); \(fresh.activationName), \(fresh.count) of \(fresh.neurons)",
                            found: "\(found); \(activation), \(kept) of \(indices)", advice: "remove it, or give another file")
        }
        var search = fresh
        search.rows = try field(json, "rows")
        search.tokens = try field(json, "tokens")
        search.firing = try neurons.map { try field($0, "firing") }
        search.examples = try neurons.map { neuron in
            try (neuron["examples"] ?? .null).asArray(at: "\(path): examples").map { try Self.example($0, path) }
        }
        var place = TokenRows.Place()
        place.offset = try field(json, "offset")
        place.rows = search.rows
        place.pending = try Self.ints(json["pending"], "\(path): pending")
        guard place.offset >= 0, search.rows >= 0, search.tokens >= 0, search.examples.allSatisfy({ $0.count <= kept }) else {
            throw LensError(.format, "not a state", at: path, expected: "counts from 0, at most \(kept) examples")
        }
        self.init(search, place: place, subject: subject)
    }

    private static func example(_ json: JSON, _ path: String) throws -> ActivatingExample {
        let tokens = try ints(json["tokens"], "\(path): tokens")
        let activations = try ints(json["activations"], "\(path): activations").map { bits in
            guard let bits = UInt32(exactly: bits) else { throw LensError(.format, "not a number's bits", at: path, found: "\(bits)") }
            return Float(bitPattern: bits)
        }
        let position = try (json["position"] ?? .null).asInt(at: "\(path): position")
        guard activations.count == tokens.count, activations.indices.contains(position) else {
            throw LensError(.format, "not an example", at: path, expected: "an activation for each token", found: "\(activations.count) for \(tokens.count)")
        }
        return ActivatingExample(row: try (json["row"] ?? .null).asInt(at: "\(path): row"), tokens: tokens, activations: activations, position: position)
    }

    private static func ints(_ json: JSON?, _ location: String) throws -> [Int] {
        try (json ?? .null).asArray(at: location).map { try $0.asInt(at: location) }
    }
}
