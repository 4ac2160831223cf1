// The merges a vocabulary implies where a file lists none: every way to cut a token into two tokens is a merge, and the
// tokens' scores (SentencePiece) or ranks (tiktoken) order them. As Hugging Face's converters do it.
import LensFiles

enum DerivedMerges {
    /// A token longer than this is cut nowhere: nothing trained has one, and cutting takes the square of its length.
    static let longest = 1_024

    /// Merges in order: by `rank` of the token made (lower first), then by the ids of the parts.
    ///
    /// - Parameters:
    ///   - tokens: the tokens by id, as bytes.
    ///   - rank: of each id.
    ///   - isCut: whether a token may be cut before a byte.
    /// - Returns: the ids of left and right part.
    static func merges(of tokens: [[UInt8]], rank: [Double], isCut: (UInt8) -> Bool) -> [(left: Int, right: Int)] {
        var table = ByteTable()
        // A text twice: the last id has it, as in a Python dictionary.
        var ids: [Int] = []
        for (id, token) in tokens.enumerated() {
            token.withUnsafeBufferPointer { bytes in
                let place = table.find(bytes)
                if place >= 0 {
                    ids[place] = id
                } else {
                    _ = table.insert(bytes, hash: ByteTable.hash(bytes))
                    ids.append(id)
                }
            }
        }
        func id(_ bytes: Bytes) -> Int? {
            let place = table.find(bytes)
            return place < 0 ? nil : ids[place]
        }
        let order = tokens.indices.sorted { (rank[$0], $0) < (rank[$1], $1) }
        var merges: [(left: Int, right: Int)] = []
        for target in order {
            let token = tokens[target]
            guard token.count > 1, token.count <= longest else { continue }
            var local: [(left: Int, right: Int)] = []
            token.withUnsafeBufferPointer { bytes in
                guard id(bytes) == target else { return }
                for cut in 1..<bytes.count where isCut(bytes[cut]) {
                    if let left = id(Bytes(rebasing: bytes[..<cut])), let right = id(Bytes(rebasing: bytes[cut...])) {
                        local.append((left, right))
                    }
                }
            }
            merges += local.sorted { ($0.left, $0.right) < ($1.left, $1.right) }
        }
        return merges
    }

    /// Merges of tokens that are texts, cut between scalars; `score` is higher for what merges earlier.
    static func merges(ofTexts texts: [String], score: [Double]) -> [JSON] {
        let tokens = texts.map { Array($0.utf8) }
        let merges = merges(of: tokens, rank: score.map { -$0 }) { $0 & 0xC0 != 0x80 }
        return merges.map { .array([.string(texts[$0.left]), .string(texts[$0.right])]) }
    }
}
