// The parser beside Foundation's, on documents made at random: both read the same values out of what both accept, and what
// Foundation refuses ours refuses too.

import Foundation
import LensFiles
import Testing

@Suite struct JSONAgreementTests {
    private struct Maker {
        var random = Random(state: 20_261_121)

        mutating func value(_ depth: Int) -> JSON {
            switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &random) {
            case 0: return .null
            case 1: return .bool(Bool.random(using: &random))
            case 2: return .int(Int.random(in: -1_000_000_007...1_000_000_007, using: &random))
            case 3: return .double(Double.random(in: -1e6...1e6, using: &random))
            case 4, 5: return .string(text())
            case 6: return .array((0..<Int.random(in: 0...5, using: &random)).map { _ in value(depth - 1) })
            default:
                var object = JSONObject()
                for index in 0..<Int.random(in: 0...5, using: &random) { object["\(index)\(text())"] = value(depth - 1) }
                return .object(object)
            }
        }

        mutating func text() -> String {
            let scalars: [Unicode.Scalar] = ["a", "Z", "0", " ", "\"", "\\", "/", "\n", "\t", "\u{1}", "é", "中", "\u{1F600}", "\u{2028}", "\u{FFFD}"]
            return String(String.UnicodeScalarView((0..<Int.random(in: 0...8, using: &random)).map { _ in scalars.randomElement(using: &random) ?? "x" }))
        }
    }

    /// Foundation's value as ours.
    private func converted(_ value: Any) -> JSON {
        switch value {
        case let list as [Any]: return .array(list.map(converted))
        case let map as [String: Any]:
            var object = JSONObject()
            for key in map.keys.sorted() { object[key] = map[key].map(converted) }
            return .object(object)
        case let text as String: return .string(text)
        case let number as NSNumber:
            if String(cString: number.objCType) == "c" { return .bool(number.boolValue) }
            return .double(number.doubleValue)
        default: return .null
        }
    }

    /// Ours with keys sorted and every number a double, as Foundation tells no more.
    private func flattened(_ value: JSON) -> JSON {
        switch value {
        case .array(let list): return .array(list.map(flattened))
        case .object(let object):
            var sorted = JSONObject()
            for key in object.keys.sorted() { sorted[key] = object[key].map(flattened) }
            return .object(sorted)
        case .int(let number): return .double(Double(number))
        default: return value
        }
    }

    /// The same value; numbers within 1e-14, because Foundation does not round them correctly.
    private func agree(_ a: JSON?, _ b: JSON) -> Bool {
        switch (a, b) {
        case (.double(let a)?, .double(let b)): return abs(a - b) <= 1e-14 * abs(b)
        case (.array(let a)?, .array(let b)): return a.count == b.count && zip(a, b).allSatisfy { agree($0, $1) }
        case (.object(let a)?, .object(let b)): return a.keys == b.keys && a.keys.allSatisfy { key in b[key].map { agree(a[key], $0) } ?? false }
        default: return a == b
        }
    }

    private func foundation(_ bytes: [UInt8]) -> JSON? {
        (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)).map(converted)
    }

    @Test func randomDocuments() throws {
        var maker = Maker()
        for _ in 0..<1_000 {
            let document = maker.value(5), bytes = try document.utf8()
            let ours = try JSON.parse(bytes, at: "document")
            #expect(try ours.utf8() == bytes)
            #expect(agree(foundation(bytes), flattened(ours)), "\(String(decoding: bytes, as: UTF8.self))")
        }
    }

    /// One byte changed: where both read it, both read the same; where Foundation refuses, so does ours.
    @Test func damagedDocuments() throws {
        var maker = Maker(), bothRead = 0
        for _ in 0..<2_000 {
            var bytes = try maker.value(4).utf8()
            bytes[Int.random(in: 0..<bytes.count, using: &maker.random)] = UInt8.random(in: 0x20...0x7E, using: &maker.random)
            let theirs = foundation(bytes), ours = try? JSON.parse(bytes, at: "document")
            guard let ours else { continue }
            #expect(agree(theirs, flattened(ours)), "\(String(decoding: bytes, as: UTF8.self))")
            bothRead += 1
        }
        #expect(bothRead > 100)
    }
}
