// safetensors: what is written reads back, what the format forbids is refused, and nothing is read out of bounds.
import Foundation
import LensFiles
import Testing

/// A file of `header` and `data`, its length right unless given.
func safetensors(_ header: String, data: Int = 0, length: UInt64? = nil) -> [UInt8] {
    let text = Array(header.utf8)
    let count = length ?? UInt64(text.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * UInt64($0))) } + text + (0..<data).map { UInt8(truncatingIfNeeded: $0) }
}

@Suite struct SafetensorsTests {
    private func open(_ bytes: [UInt8]) throws -> SafetensorsFile {
        let folder = try TemporaryFolder()
        return try SafetensorsFile(path: folder.file("x.safetensors", bytes))
    }

    @Test func readsTensors() throws {
        let file = try open(safetensors(
            #"{"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[2,3],"data_offsets":[4,10]},"#
                + #""a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"later":1},"e":{"dtype":"I64","shape":[0,7],"data_offsets":[4,4]}}   "#, data: 10))
        #expect(file.names == ["a", "e", "b"])
        #expect(file.metadata == ["format": "pt"])
        let b = try file.requireEntry("b")
        #expect(b.dtype == .u8 && b.shape == [2, 3] && b.elementCount == 6 && b.byteCount == 6)
        #expect(try file.bytes(of: "b") == [4, 5, 6, 7, 8, 9])
        #expect(try file.bytes(of: "a") == [0, 1, 2, 3])
        #expect(try file.bytes(of: "e") == [])
        #expect(file.byteRange(of: "e").map(\.count) == 0)
        var row = [UInt8](repeating: 0, count: 3)
        try row.withUnsafeMutableBytes { try file.read("b", elementOffset: 3, elementCount: 3, into: $0) }
        #expect(row == [7, 8, 9])
        #expect(file.entry("c") == nil)
    }

    @Test func refusesWrongRequests() throws {
        let file = try open(safetensors(#"{"weight":{"dtype":"F4","shape":[6],"data_offsets":[0,3]}}"#, data: 3))
        var buffer = [UInt8](repeating: 0, count: 1)
        func read(_ offset: Int, _ count: Int) -> LensError {
            lensError { try buffer.withUnsafeMutableBytes { try file.read("weight", elementOffset: offset, elementCount: count, into: $0) } }
        }
        for (offset, count) in [(0, 4), (1, 2), (0, 1), (5, 2), (6, 2), (-2, 2), (0, -2), (Int.max, 2), (2, Int.max), (0, 0)] {
            #expect(read(offset, count).kind == .shape, "\(offset) \(count)")
        }
        #expect(lensError { _ = try file.bytes(of: "weigth") }.advice == "did you mean weight?")
        #expect(lensError { try buffer.withUnsafeMutableBytes { try file.read("x", elementOffset: 0, elementCount: 2, into: $0) } }.kind == .weights)
    }

    @Test func readsNamesThatDifferInBytesOnly() throws {
        let file = try open(safetensors("{\"\u{E9}\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            + "\"e\u{301}\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}", data: 2))
        #expect(try file.bytes(of: "\u{E9}") == [0])
        #expect(try file.bytes(of: "e\u{301}") == [1])
    }

    private static func one(_ dtype: String, _ shape: String, _ offsets: String) -> String {
        #"{"a":{"dtype":\#(dtype),"shape":\#(shape),"data_offsets":\#(offsets)}}"#
    }

    private static let rejected: [(String, [UInt8])] = [
        ("empty file", []), ("seven bytes", [UInt8](repeating: 0, count: 7)), ("no header", safetensors("")),
        ("header past the end", safetensors("{}", length: 3)), ("header of 2^63", safetensors("{}", length: 1 << 63)),
        ("header of 2^64-1", safetensors("{}", length: .max)), ("header over the limit", safetensors("{}", length: 100_000_001)),
        ("space first", safetensors(" {}")), ("array", safetensors("[]")), ("newline after", safetensors("{}\n")), ("tab after", safetensors("{}\t ")),
        ("zero after", safetensors("{}\0")), ("unfinished", safetensors("{\"a\":")), ("brace only", safetensors("{   ")), ("not UTF-8", safetensors("{\"a") + [0xFF]),
        ("bytes of no tensor", safetensors("{}", data: 1)), ("twice", safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, data: 1)),
        ("metadata twice", safetensors(#"{"__metadata__":{},"__metadata__":{}}"#)), ("metadata key twice", safetensors(#"{"__metadata__":{"a":"1","a":"2"}}"#)),
        ("metadata of numbers", safetensors(#"{"__metadata__":{"a":1}}"#)), ("metadata no object", safetensors(#"{"__metadata__":"a"}"#)),
        ("tensor no object", safetensors(#"{"a":1}"#)), ("unknown type", safetensors(one(#""F128""#, "[1]", "[0,16]"), data: 16)),
        ("type in lower case", safetensors(one(#""f32""#, "[1]", "[0,4]"), data: 4)), ("type no string", safetensors(one("1", "[1]", "[0,4]"), data: 4)),
        ("no shape", safetensors(#"{"a":{"dtype":"U8","data_offsets":[0,1]}}"#, data: 1)), ("no dtype", safetensors(#"{"a":{"shape":[1],"data_offsets":[0,1]}}"#, data: 1)),
        ("no offsets", safetensors(#"{"a":{"dtype":"U8","shape":[1]}}"#, data: 1)), ("shape no array", safetensors(one(#""U8""#, "1", "[0,1]"), data: 1)),
        ("negative axis", safetensors(one(#""U8""#, "[-1]", "[0,1]"), data: 1)), ("axis a fraction", safetensors(one(#""U8""#, "[1.0]", "[0,1]"), data: 1)),
        ("axis a string", safetensors(one(#""U8""#, #"["1"]"#, "[0,1]"), data: 1)), ("axis too large", safetensors(one(#""U8""#, "[9223372036854775808]", "[0,1]"), data: 1)),
        ("product overflows", safetensors(one(#""U8""#, "[4294967296,4294967296]", "[0,0]"))), ("bytes overflow", safetensors(one(#""F64""#, "[4611686018427387904]", "[0,0]"))),
        ("product wraps to fit", safetensors(one(#""U8""#, "[4294967296,4294967296,4294967297]", "[0,0]"))),
        ("three offsets", safetensors(one(#""U8""#, "[1]", "[0,1,1]"), data: 1)), ("one offset", safetensors(one(#""U8""#, "[1]", "[0]"), data: 1)),
        ("offsets reversed", safetensors(one(#""U8""#, "[1]", "[1,0]"), data: 1)), ("negative offset", safetensors(one(#""U8""#, "[1]", "[-1,0]"), data: 1)),
        ("start after 0", safetensors(one(#""U8""#, "[1]", "[1,2]"), data: 2)), ("end before the end", safetensors(one(#""U8""#, "[1]", "[0,1]"), data: 2)),
        ("end past the end", safetensors(one(#""U8""#, "[2]", "[0,2]"), data: 1)), ("huge end", safetensors(one(#""U8""#, "[9223372036854775807]", "[0,9223372036854775807]"), data: 1)),
        ("shape smaller", safetensors(one(#""U8""#, "[1]", "[0,2]"), data: 2)), ("shape larger", safetensors(one(#""F32""#, "[2]", "[0,4]"), data: 4)),
        ("half a byte", safetensors(one(#""F4""#, "[3]", "[0,2]"), data: 2)), ("part of a byte", safetensors(one(#""F6_E2M3""#, "[2]", "[0,2]"), data: 2)),
        ("hole", safetensors(#"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#, data: 3)),
        ("overlap", safetensors(#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#, data: 3)),
        ("same bytes twice", safetensors(#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, data: 2)),
    ]

    @Test func refusesWhatTheFormatForbids() {
        for (what, bytes) in Self.rejected {
            #expect(lensError({ _ = try open(bytes) }, "\(what)").kind == .format, "\(what)")
        }
    }

    @Test func everyTypeRoundTrips() throws {
        let folder = try TemporaryFolder()
        var random = Random(state: 3)
        var tensors: [TensorContent] = [], expected: [String: [UInt8]] = [:]
        for (i, dtype) in ElementType.allCases.enumerated() {
            for shape in [[], [0], [3, 0, 2], [4], [2, 12], [1, 1, 4, 1]] as [[Int]] {
                let count = shape.reduce(1, *)
                guard let length = dtype.byteCount(count) else { continue }
                let name = "t\(i).\(shape.map(String.init).joined(separator: "x"))"
                let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
                expected[name] = bytes
                tensors.append(try TensorContent(name, dtype, shape: shape, bytes: bytes))
            }
        }
        tensors.shuffle(using: &random)
        try SafetensorsWriter.write(tensors, metadata: ["b": "2", "a": "\"1\"\n"], to: folder("x"))
        let file = try SafetensorsFile(path: folder("x"))
        #expect(Set(file.names) == Set(expected.keys))
        #expect(file.metadata == ["b": "2", "a": "\"1\"\n"])
        for tensor in tensors {
            #expect(file.entry(tensor.entry.name) == tensor.entry)
            #expect(try file.bytes(of: tensor.entry.name) == expected[tensor.entry.name])
        }
        let once = try bytes(at: folder("x"))
        try SafetensorsWriter.write(tensors.reversed(), metadata: ["a": "\"1\"\n", "b": "2"], to: folder("x"))
        #expect(try bytes(at: folder("x")) == once)
        #expect(once[0] % 8 == 0)
    }

    @Test func writesArraysAndPieces() throws {
        let folder = try TemporaryFolder()
        let pieces = try TensorContent("p", .u8, shape: [2, 3]) { write in
            for piece in [[1, 2], [], [3, 4, 5], [6]] as [[UInt8]] { try piece.withUnsafeBytes { try write($0) } }
        }
        try SafetensorsWriter.write([pieces, TensorContent("f", shape: [2], [1.5, -2] as [Float]), TensorContent("d", shape: [], [.nan] as [Double]),
                                     TensorContent("i", shape: [1, 2], [-1, .max] as [Int64])], to: folder("x"))
        let file = try SafetensorsFile(path: folder("x"))
        #expect(file.names == ["i", "d", "f", "p"])  // types by falling alignment
        #expect(try file.values(of: "f", as: Float.self) == [1.5, -2])
        #expect(try file.values(of: "i", as: Int64.self) == [-1, .max])
        #expect(try file.values(of: "d", as: Double.self)[0].isNaN)
        #expect(try file.bytes(of: "p") == [1, 2, 3, 4, 5, 6])
    }

    @Test func aFailedWriteKeepsTheOldFile() throws {
        let folder = try TemporaryFolder()
        try folder.file("x", "old")
        let good = try TensorContent("a", shape: [1], [1] as [Float])
        let bad = [
            try TensorContent("b", .u8, shape: [3]) { write in try [UInt8]([1, 2]).withUnsafeBytes { try write($0) } },
            try TensorContent("b", .u8, shape: [1]) { write in try [UInt8]([1, 2]).withUnsafeBytes { try write($0) } },
            try TensorContent("b", .u8, shape: [3]) { _ in throw LensError(.cancelled, "stopped") },
            try TensorContent("a", shape: [1], [2] as [Float]),
        ]
        for tensor in bad {
            _ = lensError { try SafetensorsWriter.write([good, tensor], to: folder("x")) }
            _ = lensError { try NumPyWriter.write(npz: [good, tensor], to: folder("x")) }
        }
        _ = lensError { try SafetensorsWriter.write([TensorContent("__metadata__", shape: [0], [] as [Float])], to: folder("x")) }
        _ = lensError { _ = try TensorContent("b", shape: [3], [1, 2] as [Float]) }
        _ = lensError { _ = try TensorContent("b", shape: [-1], [] as [Float]) }
        #expect(try folder.contents == ["x"])
        #expect(try bytes(at: folder("x")) == Array("old".utf8))
    }

    @Test func noticesAFileCutShortWhileOpen() throws {
        let folder = try TemporaryFolder()
        for (name, write) in [("x.safetensors", { try SafetensorsWriter.write($0, to: $1) }), ("x.npz", { try NumPyWriter.write(npz: $0, to: $1) }),
                              ("x.npy", { try NumPyWriter.write(npy: $0[0], to: $1) })] as [(String, ([TensorContent], String) throws -> Void)] {
            let path = folder(name)
            try write([TensorContent("arr_0", shape: [100, 100], [Float](repeating: 1, count: 10_000))], path)
            let source = try openTensors(at: path)
            #expect(try source.bytes(of: "arr_0").count == 40_000)
            #expect(truncate(path, 20_000) == 0)
            #expect(lensError { _ = try source.bytes(of: "arr_0") }.kind == .file)
            #expect(lensError { _ = try openTensors(at: path) }.kind == .format)
        }
    }
}

@Suite struct ShardedTensorsTests {
    private func folder(index: String) throws -> TemporaryFolder {
        let folder = try TemporaryFolder()
        try SafetensorsWriter.write([TensorContent("a", shape: [2], [1, 2] as [Float]), TensorContent("extra", shape: [], [9] as [Float])], to: folder("m-1.safetensors"))
        try SafetensorsWriter.write([TensorContent("b", shape: [2], [3, 4] as [Float])], to: folder("m-2.safetensors"))
        try folder.file("model.safetensors.index.json", index)
        return folder
    }

    @Test func readsFromTheRightFile() throws {
        let folder = try folder(index: #"{"metadata":{"total_size":16},"weight_map":{"b":"m-2.safetensors","a":"m-1.safetensors"}}"#)
        let source = try openTensors(at: folder("model.safetensors.index.json"))
        #expect(source.names == ["b", "a"])
        #expect(source.entry("a")?.shape == [2] && source.entry("extra") == nil)
        #expect(try source.values(of: "b", as: Float.self) == [3, 4])
        #expect(try source.values(of: "a", as: Float.self) == [1, 2])
        #expect(lensError { _ = try source.bytes(of: "c") }.kind == .weights)
        #expect((source as? ShardedTensors)?.metadata == ["total_size": 16])
    }

    @Test func refusesWhatDoesNotBelongTogether() throws {
        for (map, kind) in [(#"{"a":"m-3.safetensors"}"#, LensError.Kind.file), (#"{"a":"m-2.safetensors"}"#, .weights), (#"{"a":1}"#, .format),
                            (#"["a"]"#, .format), (#"{"a":"model.safetensors.index.json"}"#, .format)] {
            let folder = try folder(index: #"{"weight_map":\#(map)}"#)
            #expect(lensError({ _ = try openTensors(at: folder("model.safetensors.index.json")) }, "\(map)").kind == kind, "\(map)")
        }
        for text in ["{}", "[]", "", "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"a\":\"m-2.safetensors\"}}"] {
            let folder = try folder(index: text)
            #expect(lensError { _ = try openTensors(at: folder("model.safetensors.index.json")) }.kind == .format)
        }
    }

    @Test(arguments: ["", ".", "..", "../m-1.safetensors", "/etc/passwd", "sub/m-1.safetensors", "./m-1.safetensors", "..\\\\m", "m\\u0000", "a\\nb", "m/"])
    func refusesNamesThatLeadAway(_ name: String) throws {
        let folder = try folder(index: #"{"weight_map":{"a":"\#(name)"}}"#)
        let error = lensError { _ = try openTensors(at: folder("model.safetensors.index.json")) }
        #expect(error.kind == .format && error.what.contains("file name"))
    }
}
