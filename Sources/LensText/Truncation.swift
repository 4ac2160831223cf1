// Cutting encodings to a length and filling them up to one: the "truncation" and "padding" of tokenizer.json.
// It refuses unknown strategies and directions.
import LensFiles

/// How encodings are cut to a greatest length.
public struct Truncation: Sendable, Hashable {
    /// Which of two texts is cut.
    public enum Strategy: String, Sendable, CaseIterable {
        /// The longer one first.
        case longestFirst = "LongestFirst"
        /// The first alone.
        case onlyFirst = "OnlyFirst"
        /// The second alone.
        case onlySecond = "OnlySecond"
    }

    /// At which end something happens.
    public enum Direction: String, Sendable, CaseIterable {
        /// At the beginning.
        case left = "Left"
        /// At the end.
        case right = "Right"
    }

    /// The greatest length, the post-processor's tokens included.
    public var maxLength: Int
    /// How many tokens a piece of what overflows shares with the one before.
    public var stride: Int
    /// Which of two texts is cut.
    public var strategy: Strategy
    /// The end that is cut off.
    public var direction: Direction

    /// Cuts to `maxLength` tokens.
    public init(maxLength: Int, stride: Int = 0, strategy: Strategy = .longestFirst, direction: Direction = .right) {
        self.maxLength = maxLength
        self.stride = stride
        self.strategy = strategy
        self.direction = direction
    }

    /// nil for JSON null.
    init?(json: JSON?, at location: String) throws {
        guard let json, !json.isNull else { return nil }
        let fields = try Fields(json, at: location)
        maxLength = try fields.requiredIndex("max_length")
        stride = try fields.requiredIndex("stride")
        strategy = try fields.choice("strategy", Strategy.self)
        direction = fields.optional("direction") == nil ? .right : try fields.choice("direction", Direction.self)
    }

    /// Cuts one or two encodings so that, with `added` tokens more, they are no longer than the limit.
    func apply(to encodings: inout [Encoding], added: Int) throws {
        // A limit below what is added is no limit, as in the reference.
        guard maxLength >= added else { return }
        let limit = maxLength - added, total = encodings.reduce(0) { $0 + $1.count }
        if limit == 0 {
            for index in encodings.indices { try cut(&encodings[index], to: 0) }
            return
        }
        guard total > limit else { return }
        switch strategy {
        case .longestFirst:
            let lengths = encodings.count == 2 ? Self.share(limit, encodings[0].count, encodings[1].count) : [limit]
            for (index, length) in lengths.enumerated() { try cut(&encodings[index], to: length) }
        case .onlyFirst, .onlySecond:
            let target = strategy == .onlyFirst ? 0 : 1
            guard target < encodings.count else {
                throw LensError(.text, "truncation of a second text that is not there", at: "truncation.strategy", found: strategy.rawValue)
            }
            let length = encodings[target].count - (total - limit)
            guard length > 0 else {
                throw LensError(.text, "text too short to be truncated enough", at: "truncation.max_length", found: "\(maxLength)")
            }
            try cut(&encodings[target], to: length)
        }
    }

    /// How many tokens what overflows may have in all.
    private static let mostOverflow = 1 << 26

    /// - Throws: `LensError` if the pieces of two texts, each with each, would be too many.
    func checkCombinations(_ encodings: [Encoding]) throws {
        let count = encodings.reduce(1) { min($0 * ($1.overflowing.count + 1), Self.mostOverflow) }
        guard encodings.count < 2 || count * max(maxLength, 1) <= Self.mostOverflow else {
            throw LensError(.text, "truncation of two texts that leaves too many pieces", at: "truncation.stride", found: "\(stride)")
        }
    }

    /// The lengths of two texts of which the longer is cut first.
    private static func share(_ limit: Int, _ first: Int, _ second: Int) -> [Int] {
        var short = min(first, second)
        var long = short > limit ? short : max(short, limit - short)
        if short + long > limit {
            short = limit / 2
            long = short + limit % 2
        }
        return first > second ? [long, short] : [short, long]
    }

    private func cut(_ encoding: inout Encoding, to length: Int) throws {
        let count = encoding.count
        if length >= count { return }
        if length == 0 {
            let whole = encoding
            encoding = Encoding()
            encoding.overflowing = [whole]
            return
        }
        guard stride < length else {
            throw LensError(.text, "truncation whose stride leaves nothing new", at: "truncation.stride",
                            expected: "less than \(length)", found: "\(stride)")
        }
        let step = length - stride
        guard count / step * length <= Self.mostOverflow else {
            throw LensError(.text, "truncation whose stride leaves too many pieces", at: "truncation.stride", found: "\(stride)")
        }
        var parts: [Range<Int>] = []
        switch direction {
        case .right:
            var start = 0
            repeat {
                parts.append(start..<min(start + length, count))
                start += step
            } while parts[parts.count - 1].upperBound < count
        case .left:
            var end = count
            repeat {
                parts.append(max(end - length, 0)..<end)
                end -= step
            } while parts[parts.count - 1].lowerBound > 0
        }
        var result = encoding.slice(parts[0])
        result.overflowing = parts.dropFirst().map { encoding.slice($0) }
        encoding = result
    }
}

/// How encodings are filled up to a length.
public struct Padding: Sendable, Hashable {
    /// The length; nil for the longest of a batch, which for one text is its own.
    public var length: Int?
    /// The end that is filled.
    public var direction: Truncation.Direction
    /// The length is made a multiple of this, if it is there and not 0.
    public var multiple: Int?
    /// The id that fills.
    public var id: Int
    /// The type of what fills.
    public var typeID: Int
    /// The token that fills.
    public var token: String

    /// Padding with a token.
    public init(length: Int? = nil, direction: Truncation.Direction = .right, multiple: Int? = nil, id: Int = 0, typeID: Int = 0,
                token: String = "[PAD]") {
        self.length = length
        self.direction = direction
        self.multiple = multiple
        self.id = id
        self.typeID = typeID
        self.token = token
    }

    /// More would not be padding.
    private static let longest = 1 << 20

    /// nil for JSON null.
    init?(json: JSON?, at location: String) throws {
        guard let json, !json.isNull else { return nil }
        let fields = try Fields(json, at: location)
        let strategy = try fields.required("strategy"), place = fields.place("strategy")
        if case .object = strategy {
            length = try Fields(strategy, at: place).requiredIndex("Fixed")
        } else if try strategy.asString(at: place) != "BatchLongest" {
            throw LensError(.format, "unknown strategy", at: place, expected: "BatchLongest or {\"Fixed\": n}", found: strategy.summary)
        }
        direction = try fields.choice("direction", Truncation.Direction.self)
        multiple = fields.optional("pad_to_multiple_of") == nil ? nil : try fields.requiredIndex("pad_to_multiple_of")
        id = try fields.requiredIndex("pad_id")
        typeID = try fields.requiredIndex("pad_type_id")
        token = try fields.requiredString("pad_token")
        guard length ?? 0 <= Self.longest, multiple ?? 0 <= Self.longest else {
            throw LensError(.format, "padding too long", at: location, expected: "at most \(Self.longest)")
        }
    }

    /// How long an encoding of `count` tokens becomes at least.
    func target(_ count: Int) -> Int {
        let length = length ?? count
        guard let multiple, multiple > 0, length % multiple > 0 else { return length }
        return length + multiple - length % multiple
    }

    func apply(to encoding: inout Encoding) { fill(&encoding, target(encoding.count)) }

    private func fill(_ encoding: inout Encoding, _ length: Int) {
        for index in encoding.overflowing.indices { fill(&encoding.overflowing[index], length) }
        guard encoding.count < length else { return }
        var filler = Encoding()
        for _ in encoding.count..<length { filler.append(id, token, 0..<0, type: typeID, word: nil, isSpecial: true, attends: false) }
        let overflowing = encoding.overflowing
        encoding.overflowing = []
        if direction == .left {
            filler.append(encoding)
            encoding = filler
        } else {
            encoding.append(filler)
        }
        encoding.overflowing = overflowing
    }

    /// The ids alone, filled up.
    func filled(_ ids: [Int]) -> [Int] {
        let missing = Array(repeating: id, count: max(target(ids.count) - ids.count, 0))
        return direction == .left ? missing + ids : ids + missing
    }
}
