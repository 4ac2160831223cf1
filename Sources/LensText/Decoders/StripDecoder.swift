// Strip: drops up to so many of one character at the ends of each token's text.

struct StripDecoder: Sendable {
    /// One character, as UTF-8.
    let content: [UInt8]
    let start: Int
    let stop: Int

    init(_ fields: Fields) throws {
        content = try fields.requiredScalar("content")
        start = try fields.requiredIndex("start")
        stop = try fields.requiredIndex("stop")
    }

    func write(_ text: Bytes, into out: inout [UInt8]) {
        var first = 0, last = text.count
        for _ in 0..<start {
            guard text.count - first >= content.count, text[first...].starts(with: content) else { break }
            first += content.count
        }
        for _ in 0..<stop {
            guard last - first >= content.count, text[(last - content.count)..<last].elementsEqual(content) else { break }
            last -= content.count
        }
        out.append(contentsOf: text[first..<last])
    }
}
