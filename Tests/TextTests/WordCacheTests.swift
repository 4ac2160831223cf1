// The tables that vocabularies and the word cache are made of, when they grow and when they are full.
import Testing
@testable import LensText

@Suite struct WordCacheTests {
    private func word(_ number: Int) -> [UInt8] { Array("word \(number)".utf8) }

    @Test func tableFindsWhatItHolds() {
        var table = ByteTable()
        for number in 0..<5_000 {
            word(number).withUnsafeBufferPointer { bytes in
                #expect(table.find(bytes) < 0)
                #expect(table.insert(bytes, hash: ByteTable.hash(bytes)) == number)
            }
        }
        for number in 0..<5_000 {
            #expect(word(number).withUnsafeBufferPointer { table.find($0) } == number)
            #expect(Array(table.key(number)) == word(number))
        }
        // Canonically equivalent strings are different keys.
        for text in ["\u{E9}", "e\u{301}", ""] {
            Array(text.utf8).withUnsafeBufferPointer { #expect(table.find($0) < 0) }
        }
        table.removeAll()
        #expect(table.count == 0 && word(7).withUnsafeBufferPointer { table.find($0) } < 0)
    }

    @Test func cacheStartsAnewWhenFull() {
        var cache = WordCache()
        for number in 0..<70_000 {
            word(number).withUnsafeBufferPointer { cache.insert($0, hash: ByteTable.hash($0), [Int32(number), 1]) }
        }
        func found(_ number: Int) -> [Int]? {
            word(number).withUnsafeBufferPointer { bytes in
                let entry = cache.find(bytes, hash: ByteTable.hash(bytes))
                guard entry >= 0 else { return nil }
                var ids: [Int] = []
                cache.append(entry, to: &ids)
                return ids
            }
        }
        #expect(found(69_999) == [69_999, 1])
        #expect(found(0) == nil)
    }
}
