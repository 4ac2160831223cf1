// TemplateProcessing: where the special tokens go.
import LensFiles

struct Template: Sendable {
    enum Piece: Sendable {
        case text
        case tokens([Int])
    }

    let pieces: [Piece]

    init(pieces: [Piece]) { self.pieces = pieces }

    /// Reads "single", the template of one text.
    init(_ fields: Fields) throws {
        let special = try Fields(try fields.required("special_tokens"), at: fields.place("special_tokens"))
        let list = try fields.required("single").asArray(at: fields.place("single"))
        pieces = try list.enumerated().map { try Self.readPiece($1, at: "\(fields.place("single"))[\($0)]", special) }
    }

    private static func readPiece(_ json: JSON, at location: String, _ special: Fields) throws -> Piece {
        let piece = try Fields(json, at: location)
        if let sequence = piece.optional("Sequence") {
            let name = try Fields(sequence, at: piece.place("Sequence")).requiredString("id")
            guard name == "A" else {
                throw LensError(.format, "template of one text with another text in it", at: piece.place("Sequence.id"),
                                expected: "\"A\"", found: "\"\(name)\"")
            }
            return .text
        }
        let name = try Fields(try piece.required("SpecialToken"), at: piece.place("SpecialToken")).requiredString("id")
        guard let json = special.optional(name) else {
            throw LensError(.format, "template with a token that special_tokens lacks",
                            at: piece.place("SpecialToken.id"), found: "\"\(name)\"")
        }
        let token = try Fields(json, at: special.place(name))
        let ids = try token.required("ids").asArray(at: token.place("ids"))
        return .tokens(try ids.enumerated().map { try checked($1, at: "\(token.place("ids"))[\($0)]") })
    }

    /// A token written as `[content, id]`.
    static func namedToken(_ fields: Fields, _ key: String) throws -> Int {
        let pair = try fields.required(key).asArray(at: fields.place(key))
        guard pair.count == 2, pair[0].stringValue != nil else {
            throw LensError(.format, "bad token", at: fields.place(key), expected: "[content, id]")
        }
        return try checked(pair[1], at: fields.place(key))
    }

    private static func checked(_ json: JSON, at location: String) throws -> Int {
        let id = try json.asInt(at: location)
        guard id >= 0, id < Int(Int32.max) else {
            throw LensError(.format, "impossible id", at: location, expected: "0 to \(Int32.max - 1)", found: "\(id)")
        }
        return id
    }

    func apply(to ids: [Int], addSpecialTokens: Bool) -> [Int] {
        var result: [Int] = []
        result.reserveCapacity(ids.count + 4)
        for piece in pieces {
            switch piece {
            case .text: result += ids
            case .tokens(let tokens): if addSpecialTokens { result += tokens }
            }
        }
        return result
    }
}
