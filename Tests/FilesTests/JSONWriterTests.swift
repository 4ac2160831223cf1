// What is written reads back as the same value, and the same value is always written as the same bytes.
import LensFiles
import Testing

@Suite struct JSONWriterTests {
    @Test func writesCompactly() throws {
        let value: JSON = ["b": [1, 2.0, nil, true, []], "a": ["x": [:], "y": "q\"\\\u{1}\n\u{2028}é😀/"]]
        #expect(try value.text() == #"{"b":[1,2.0,null,true,[]],"a":{"x":{},"y":"q\"\\\u0001\n\u2028é😀/"}}"#)
    }

    @Test func writesPretty() throws {
        let value: JSON = ["a": [1, 2], "b": [:], "c": ["d": "e"], "f": [[], [3]]]
        #expect(try value.text(pretty: true) == """
            {
              "a": [1, 2],
              "b": {},
              "c": {
                "d": "e"
              },
              "f": [
                [],
                [3]
              ]
            }
            """)
    }

    /// A random value; depth bounded.
    private func value(_ random: inout Random, depth: Int) -> JSON {
        switch Int.random(in: 0..<(depth > 4 ? 5 : 7), using: &random) {
        case 0: return .null
        case 1: return .bool(Bool.random(using: &random))
        case 2: return .int(Int(truncatingIfNeeded: random.next()) >> Int.random(in: 0..<64, using: &random))
        case 3:
            let number = Double(bitPattern: random.next())
            return .double(number.isFinite ? number : 0.1)
        case 4: return .string(text(&random))
        case 5: return .array((0..<Int.random(in: 0..<6, using: &random)).map { _ in value(&random, depth: depth + 1) })
        default:
            return .object(JSONObject((0..<Int.random(in: 0..<12, using: &random)).map { _ in
                (text(&random), value(&random, depth: depth + 1))
            }))
        }
    }

    private func text(_ random: inout Random) -> String {
        var text = ""
        for _ in 0..<Int.random(in: 0..<20, using: &random) {
            let top: UInt32 = [0x20, 0x80, 0x800, 0x11_0000].randomElement(using: &random) ?? 0x80
            text.unicodeScalars.append(Unicode.Scalar(UInt32.random(in: 0..<top, using: &random)) ?? "x")
        }
        return text
    }

    @Test func roundTrips() throws {
        var random = Random(state: 11)
        for _ in 0..<500 {
            let original = value(&random, depth: 0)
            for pretty in [false, true] {
                let bytes = try original.utf8(pretty: pretty)
                let read = try JSON.parse(bytes, at: "x")
                #expect(read == original)
                #expect(try read.utf8(pretty: pretty) == bytes)
            }
        }
    }

    @Test func keepsSignOfZeroAndType() throws {
        let read = try JSON.parse(try JSON.array([-0.0, 1e20, 3.0]).text())
        guard case .array(let values) = read, case .double(let zero) = values[0] else { Issue.record("not doubles"); return }
        #expect(zero.sign == .minus && values[1] == .double(1e20) && values[2] == .double(3))
    }

    @Test func refusesWhatJSONCannotHold() throws {
        for number in [Double.nan, .infinity, -.infinity] { _ = lensError { _ = try JSON.double(number).text() } }
        #expect(try JSON.array([.double(.nan), .double(-.infinity)]).text(nonFinite: .null) == "[null,null]")
        #expect(try JSON.array([.double(.nan), .double(-.infinity)]).text(nonFinite: .python) == "[NaN,-Infinity]")
        var deep: JSON = 1
        for _ in 0..<600 { deep = [deep] }
        _ = lensError { _ = try deep.text() }
    }
}
