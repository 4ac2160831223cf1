// The vocabulary of a model: tokens and their ids, both ways, by bytes. It refuses duplicates of either.
import LensFiles

/// A model's tokens. Ids need not be dense.
struct Vocabulary: Sendable {
    private var table: ByteTable
    /// The id of each entry of `table`.
    private var ids: [Int32] = []
    /// The entry of each id, -1 where there is none, while ids are dense enough to be worth an array.
    private var entries: [Int32] = []
    private var sparseEntries: [Int32: Int32] = [:]

    /// One more than the greatest id; 0 if there are no tokens.
    private(set) var idLimit = 0
    private(set) var count = 0

    /// Reads a JSON object of tokens and ids.
    init(json: JSON, at location: String) throws {
        let object = try json.asObject(at: location)
        table = ByteTable(minimumCapacity: object.count)
        ids.reserveCapacity(object.count)
        for (token, value) in object.pairs {
            guard case .int(let id) = value, id >= 0, id < Int(Int32.max) else {
                throw LensError(.format, "token with an impossible id", at: "\(location).\(token)",
                                expected: "an integer from 0 to \(Int32.max - 1)", found: value.summary)
            }
            var token = token
            token.withUTF8 { bytes in _ = table.insert(bytes, hash: ByteTable.hash(bytes)) }
            ids.append(Int32(id))
            idLimit = max(idLimit, id + 1)
        }
        count = ids.count
        try indexIDs(at: location)
    }

    /// From a list whose places are the ids. Of a token that comes twice, the later id is the token's, and either is
    /// the token again.
    init(list: [[UInt8]]) {
        table = ByteTable(minimumCapacity: list.count)
        ids.reserveCapacity(list.count)
        entries.reserveCapacity(list.count)
        for (id, token) in list.enumerated() {
            token.withUnsafeBufferPointer { token in
                let hash = ByteTable.hash(token), known = table.find(token, hash: hash), number = Int32(truncatingIfNeeded: id)
                if known >= 0 {
                    ids[known] = number
                    entries.append(Int32(truncatingIfNeeded: known))
                } else {
                    entries.append(Int32(truncatingIfNeeded: table.insert(token, hash: hash)))
                    ids.append(number)
                }
            }
        }
        count = list.count
        idLimit = list.count
    }

    /// Every token with its id.
    func forEach(_ body: (_ token: ArraySlice<UInt8>, _ id: Int32) -> Void) {
        for (entry, id) in ids.enumerated() { body(table.key(entry), id) }
    }

    /// The token `<0x..>` of each byte; -1 where there is none.
    var fallbackTokens: [Int32] {
        let hex = Array("0123456789ABCDEF".utf8)
        return (0..<256).map { id(of: Array("<0x".utf8) + [hex[$0 >> 4], hex[$0 & 15]] + Array(">".utf8)) }
    }

    private mutating func indexIDs(at location: String) throws {
        let isDense = idLimit <= 8 * ids.count + 1024
        if isDense { entries = [Int32](repeating: -1, count: idLimit) }
        for (entry, id) in ids.enumerated() {
            let taken = isDense ? entries[Int(id)] : sparseEntries[id] ?? -1
            guard taken < 0 else {
                throw LensError(.format, "two tokens with one id", at: location,
                                found: "\(id) for \(quoted(table.key(Int(taken)))) and \(quoted(table.key(entry)))")
            }
            if isDense { entries[Int(id)] = Int32(entry) } else { sparseEntries[id] = Int32(entry) }
        }
    }

    /// The id of a token; negative if there is none.
    @inline(__always)
    func id(of token: Bytes) -> Int32 {
        let entry = table.find(token)
        return entry < 0 ? -1 : ids[entry]
    }

    func id(of token: [UInt8]) -> Int32 { token.withUnsafeBufferPointer { id(of: $0) } }

    /// The bytes of the token with this id; nil if there is none.
    func token(_ id: Int) -> ArraySlice<UInt8>? {
        guard id >= 0, id < idLimit else { return nil }
        let entry = entries.isEmpty ? sparseEntries[Int32(truncatingIfNeeded: id)] ?? -1 : entries[id]
        return entry < 0 ? nil : table.key(Int(entry))
    }
}

/// A token as it is shown in an error.
func quoted(_ token: some Sequence<UInt8>) -> String { "\"\(String(decoding: Array(token), as: UTF8.self))\"" }
