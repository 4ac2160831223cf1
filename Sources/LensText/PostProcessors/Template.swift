// TemplateProcessing: where the special tokens go, around one text and around two.
import LensFiles

struct Template: Sendable {
    enum Piece: Sendable {
        /// The first text or the second.
        case text(Int, type: Int)
        case special(SpecialToken, type: Int)
    }

    let single: [Piece]
    let pair: [Piece]

    init(single: [Piece], pair: [Piece]) {
        self.single = single
        self.pair = pair
    }

    init(_ fields: Fields) throws {
        let special = try Fields(try fields.required("special_tokens"), at: fields.place("special_tokens"))
        func read(_ key: String, texts: Int) throws -> [Piece] {
            let list = try fields.required(key).asArray(at: fields.place(key))
            return try list.enumerated().map { try Self.readPiece($1, at: "\(fields.place(key))[\($0)]", special, texts) }
        }
        single = try read("single", texts: 1)
        pair = try read("pair", texts: 2)
    }

    private static func readPiece(_ json: JSON, at location: String, _ special: Fields, _ texts: Int) throws -> Piece {
        let piece = try Fields(json, at: location)
        if let sequence = piece.optional("Sequence") {
            let member = try Fields(sequence, at: piece.place("Sequence")), name = try member.requiredString("id")
            guard name == "A" || name == "B" && texts == 2 else {
                throw LensError(.format, texts == 1 ? "template of one text with another text in it" : "no such text",
                                at: piece.place("Sequence.id"), expected: texts == 1 ? "\"A\"" : "\"A\" or \"B\"", found: "\"\(name)\"")
            }
            return .text(name == "A" ? 0 : 1, type: try member.requiredIndex("type_id"))
        }
        let member = try Fields(try piece.required("SpecialToken"), at: piece.place("SpecialToken"))
        let name = try member.requiredString("id")
        guard let json = special.optional(name) else {
            throw LensError(.format, "template with a token that special_tokens lacks",
                            at: piece.place("SpecialToken.id"), found: "\"\(name)\"")
        }
        return .special(try SpecialToken(try Fields(json, at: special.place(name))), type: try member.requiredIndex("type_id"))
    }

    func addedCount(isPair: Bool) -> Int {
        (isPair ? pair : single).reduce(0) { if case .special(let token, _) = $1 { $0 + token.ids.count } else { $0 } }
    }

    func ids(around ids: [Int], addSpecialTokens: Bool) -> [Int] {
        var result: [Int] = []
        result.reserveCapacity(ids.count + 4)
        for piece in single {
            switch piece {
            case .text: result += ids
            case .special(let token, _): if addSpecialTokens { result += token.ids }
            }
        }
        return result
    }

    func apply(to encodings: [Encoding], addSpecialTokens: Bool) throws -> [Encoding] {
        guard (1...2).contains(encodings.count) else {
            throw LensError(.text, "a template after a post-processor that leaves \(encodings.count) parts", at: "post_processor")
        }
        return (encodings.count == 1 ? single : pair).compactMap { piece in
            switch piece {
            case .text(let number, let type):
                var encoding = encodings[number]
                encoding.typeIDs = Array(repeating: type, count: encoding.count)
                return encoding
            case .special(let token, let type): return addSpecialTokens ? token.encoding(type: type) : nil
            }
        }
    }
}
