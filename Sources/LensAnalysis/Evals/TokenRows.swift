// A text file as rows of tokens, read piece by piece: a file of any size in bounded memory, and a place in it that can be
// written down and gone back to.

import LensFiles

/// Rows of a text file's tokens, one after another.
///
/// The file is read in pieces that end with a line where they can, and each piece is tokenized by itself; a file of one piece
/// is tokenized whole.
public struct TokenRows {
    /// Where reading is: enough to go on from.
    public struct Place: Sendable, Hashable {
        /// Bytes read.
        public var offset = 0
        /// Rows given.
        public var rows = 0
        /// Tokens read and not yet given.
        public var pending: [Int] = []

        public init() {}
    }

    private let file: DataFile
    private let tokenizer: any Tokenizing
    private let bos: Int?
    private let length: Int
    public private(set) var place: Place

    private static let pieceSize = 1 << 16
    /// How far a piece may grow in search of a line's end.
    private static let longestPiece = 1 << 20

    /// - Parameters:
    ///   - length: tokens of a row, with `bos` where it is given: it begins every row.
    ///   - place: where to go on.
    /// - Throws: `LensError(.file)` if the file cannot be opened, `(.usage)` for rows without room.
    public init(file path: String, tokenizer: any Tokenizing, length: Int, bos: Int?, from place: Place = Place()) throws {
        guard length >= 2 else { throw LensError(.usage, "rows too short", expected: "at least 2 tokens", found: "\(length)") }
        file = try DataFile(path: path)
        guard place.offset >= 0, place.offset <= file.size else {
            throw LensError(.usage, "a place past the file's end", at: path, expected: "0...\(file.size)", found: "\(place.offset)")
        }
        self.tokenizer = tokenizer
        self.length = length
        self.bos = bos
        self.place = place
    }

    /// The file's length and how much of it has been read, in bytes.
    public var progress: (done: Int, of: Int) { (place.offset, file.size) }

    /// The next row; the last may be shorter, but has at least two tokens. nil at the end.
    /// - Throws: `LensError(.file)`, `(.format)` for text that is not UTF-8, `(.text)` for text that cannot be tokenized.
    public mutating func next() throws -> [Int]? {
        let wanted = length - (bos == nil ? 0 : 1)
        while place.pending.count < wanted, place.offset < file.size {
            place.pending += try tokenizer.encode(text: nextPiece(), addSpecialTokens: false)
        }
        let row = (bos.map { [$0] } ?? []) + place.pending.prefix(wanted)
        guard row.count >= 2 else { return nil }
        place.pending.removeFirst(min(wanted, place.pending.count))
        place.rows += 1
        return row
    }

    private mutating func nextPiece() throws -> String {
        var size = Self.pieceSize
        while true {
            let end = min(place.offset + size, file.size)
            let bytes = try file.read(place.offset..<end)
            let cut = end == file.size ? bytes.count : Self.cut(bytes)
            guard let cut else {
                if size < Self.longestPiece {
                    size *= 4
                    continue
                }
                return try text(bytes, upTo: Self.wholeCharacters(bytes))
            }
            return try text(bytes, upTo: cut)
        }
    }

    private mutating func text(_ bytes: [UInt8], upTo count: Int) throws -> String {
        guard count > 0, let text = String(validating: bytes[..<count], as: UTF8.self) else {
            throw LensError(.format, "not UTF-8 text", at: file.path, found: "bytes \(place.offset)..<\(place.offset + max(count, 1))")
        }
        place.offset += count
        return text
    }

    /// After the last line's end.
    private static func cut(_ bytes: [UInt8]) -> Int? { bytes.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } }

    /// Bytes up to the last character that may be cut itself.
    private static func wholeCharacters(_ bytes: [UInt8]) -> Int {
        // A character's first byte is the last one that is no continuation.
        guard let start = bytes.lastIndex(where: { $0 & 0xC0 != 0x80 }), bytes.count - start < 4, bytes[start] >= 0x80 else { return bytes.count }
        return start
    }
}
