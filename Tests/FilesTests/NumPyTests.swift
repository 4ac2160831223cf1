// NumPy files: what is written reads back; compressed, column-major, damaged and malicious files are refused.
import Foundation
@testable import LensFiles
import Testing

/// The bytes of a .npy file with the given header text.
func npy(_ header: String, data: Int = 0, version: UInt8 = 1, length: Int? = nil) -> [UInt8] {
    let text = Array(header.utf8)
    var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [version, 0]
    let count = length ?? text.count
    if version == 1 { bytes.append(littleEndian: UInt16(count)) } else { bytes.append(littleEndian: UInt32(count)) }
    return bytes + text + [UInt8](repeating: 1, count: data)
}

@Suite struct NumPyTests {
    private let types: [ElementType] = [.f32, .f64, .f16, .c64, .i64, .i32, .i16, .i8, .u64, .u32, .u16, .u8, .bool]

    @Test(arguments: [(Int(UInt32.max), Int(UInt16.max)), (0, 0), (100, 3)])
    func npzRoundTrips(_ size: Int, _ count: Int) throws {
        let folder = try TemporaryFolder()
        var random = Random(state: 5)
        var tensors: [TensorContent] = [], expected: [String: [UInt8]] = [:]
        for dtype in types {
            for shape in [[], [0], [5], [3, 0, 2], [2, 7], [1, 2, 3, 4]] as [[Int]] {
                let name = "blocks.0/é \(dtype) \(shape)"
                let bytes = (0..<(dtype.byteCount(shape.reduce(1, *)) ?? 0)).map { _ in UInt8.random(in: 0...255, using: &random) }
                expected[name] = bytes
                tensors.append(try TensorContent(name, dtype, shape: shape, bytes: bytes))
            }
        }
        try NumPyWriter.write(npz: tensors, into: ZipWriter(path: folder("x.npz"), wideFrom: (size, count)))
        let file = try openTensors(at: folder("x.npz"))
        #expect(file.names == tensors.map(\.entry.name))
        for tensor in tensors {
            let name = tensor.entry.name
            #expect(file.entry(name) == tensor.entry)
            #expect(try file.bytes(of: name) == expected[name])
        }
        let once = try bytes(at: folder("x.npz"))
        try NumPyWriter.write(npz: tensors, into: ZipWriter(path: folder("x.npz"), wideFrom: (size, count)))
        #expect(try bytes(at: folder("x.npz")) == once)
    }

    @Test func writesManyAndNoArrays() throws {
        let folder = try TemporaryFolder()
        try NumPyWriter.write(npz: [], to: folder("none.npz"))
        #expect(try openTensors(at: folder("none.npz")).names == [])
        let tensors = try (0..<3_000).map { try TensorContent("\($0)", .u8, shape: [], bytes: [UInt8(truncatingIfNeeded: $0)]) }
        for limit in [2_999, 3_000, 3_001] {  // as many entries as a directory without ZIP64 has, or one more or less
            try NumPyWriter.write(npz: tensors, into: ZipWriter(path: folder("many.npz"), wideFrom: (Int(UInt32.max), limit)))
            let file = try openTensors(at: folder("many.npz"))
            #expect(file.names.count == 3_000)
            #expect(try file.bytes(of: "2999") == [UInt8(truncatingIfNeeded: 2_999)])
        }
    }

    @Test func readsPartOfAnArray() throws {
        let folder = try TemporaryFolder()
        try NumPyWriter.write(npy: TensorContent("w", shape: [3, 2], [1, 2, 3, 4, 5, 6] as [Float]), to: folder("x.npy"))
        let file = try openTensors(at: folder("x.npy"))
        #expect(file.names == ["arr_0"] && file.entry("arr_0")?.shape == [3, 2])
        var row: [Float] = [0, 0]
        try row.withUnsafeMutableBytes { try file.read("arr_0", elementOffset: 2, elementCount: 2, into: $0) }
        #expect(row == [3, 4])
        let written = try bytes(at: folder("x.npy"))
        #expect(written.count == 128 + 24)
        #expect(String(decoding: written[10..<127], as: UTF8.self).trimmingCharacters(in: .whitespaces)
            == "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n".trimmingCharacters(in: .newlines))
    }

    @Test func readsHeadersAsOthersWriteThem() throws {
        let folder = try TemporaryFolder()
        for bytes in [npy("{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n", data: 4), npy("{\"shape\":(2L,),\"fortran_order\":True,\"descr\":\"<i2\"}", data: 4),
                      npy(" { 'descr' : '<i2' , 'shape' : ( 2 , ) , 'fortran_order' : False } ", data: 4, version: 2), npy("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 1)}", data: 4, version: 3)] {
            let file = try NumPyFile(npy: folder.file("x.npy", bytes))
            #expect(file.entry("arr_0")?.dtype == .i16 && file.entry("arr_0")?.elementCount == 2)
        }
    }

    @Test func refusesHeaders() throws {
        let folder = try TemporaryFolder()
        func header(descr: String = "'<f4'", order: String = "False", shape: String = "(1,)") -> [UInt8] {
            npy("{'descr': \(descr), 'fortran_order': \(order), 'shape': \(shape), }", data: 4)
        }
        let rejected: [(String, [UInt8])] = [
            ("empty", []), ("magic only", [0x93] + Array("NUMPY".utf8)), ("no length", [0x93] + Array("NUMPY".utf8) + [1, 0]), ("another magic", Array("PK\u{3}\u{4}abcdefghij".utf8)),
            ("version 0", npy("{}", version: 0)), ("version 4", npy("{}", version: 4)), ("header past the end", npy("{}", length: 3)),
            ("header too long", npy(String(repeating: " ", count: 10_001))), ("huge header", npy("{}", version: 2, length: Int(UInt32.max))),
            ("no dict", npy("")), ("empty dict", npy("{}")), ("unfinished", npy("{'descr'")), ("unfinished string", npy("{'descr")), ("text after", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), } x", data: 4)),
            ("object", header(descr: "'|O'")), ("structured", header(descr: "[('a', '<f4')]")), ("big-endian", header(descr: "'>f4'")), ("void", header(descr: "'|V4'")), ("text", header(descr: "'<U1'")),
            ("code", header(descr: "__import__('os')")), ("column-major", header(order: "True", shape: "(1, 1)")), ("order 0", header(order: "0")), ("no tuple", header(shape: "(1)")), ("list", header(shape: "[1]")),
            ("negative", header(shape: "(-1,)")), ("fraction", header(shape: "(1.0,)")), ("overflow", header(shape: "(9223372036854775808,)")), ("product", header(shape: "(4294967296, 4294967296)")),
            ("bytes", header(shape: "(4611686018427387904,)")), ("larger", header(shape: "(2,)")), ("smaller", header(shape: "(0,)")), ("comma", header(shape: "(,)")),
            ("twice", npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", data: 4)), ("unknown key", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", data: 4)),
            ("no shape", npy("{'descr': '<f4', 'fortran_order': False}", data: 4)),
        ]
        for (what, bytes) in rejected {
            let path = try folder.file("x.npy", bytes)
            #expect(lensError({ _ = try NumPyFile(npy: path) }, "\(what)").kind == .format, "\(what)")
        }
    }

    @Test func refusesTypesNumPyLacks() throws {
        let folder = try TemporaryFolder()
        let tensor = try TensorContent("a", .bf16, shape: [1], bytes: [0, 0])
        #expect(lensError { try NumPyWriter.write(npz: [tensor], to: folder("x.npz")) }.kind == .usage)
        #expect(lensError { try NumPyWriter.write(npy: tensor, to: folder("x.npy")) }.kind == .usage)
        #expect(try folder.contents == [])
    }

    @Test func checksumsAreThoseOfZip() {
        var crc = CRC32()
        crc.update(Array("123456789".utf8))
        #expect(crc.value == 0xCBF4_3926)
        var pieces = CRC32()
        for byte in "123456789".utf8 { pieces.update([byte]) }
        #expect(pieces.value == crc.value && CRC32().value == 0)
    }
}

/// Zip files made to do harm, from a good one.
@Suite struct ZipArchiveTests {
    /// A good archive of two arrays; its directory starts at `directory`.
    private func archive(_ folder: TemporaryFolder) throws -> (bytes: [UInt8], directory: Int) {
        try NumPyWriter.write(npz: [TensorContent("a", shape: [2], [1, 2] as [Float]), TensorContent("b", shape: [2], [3, 4] as [Float])], to: folder("good.npz"))
        let all = try bytes(at: folder("good.npz"))
        let directory = try #require((0..<all.count).first { all[$0...].starts(with: [0x50, 0x4B, 1, 2]) })
        return (all, directory)
    }

    private func refused(_ folder: TemporaryFolder, _ what: Comment, _ bytes: [UInt8]) throws -> LensError {
        let path = try folder.file("bad.npz", bytes)
        let error = lensError({ _ = try NumPyFile(npz: path) }, what)
        #expect(error.kind == .format, what)
        return error
    }

    @Test func refusesWhatABombIsMadeOf() throws {
        let folder = try TemporaryFolder()
        let (good, directory) = try archive(folder)
        let second = directory + 46 + 5
        func edited(_ edits: [(Int, [UInt8])]) -> [UInt8] {
            var bytes = good
            for (at, new) in edits { bytes.replaceSubrange(at..<(at + new.count), with: new) }
            return bytes
        }
        let end = good.count - 22
        #expect(try refused(folder, "deflate", edited([(8, [8, 0]), (directory + 10, [8, 0])])).advice?.contains("savez_compressed") == true)
        #expect(try refused(folder, "overlap", edited([(second + 42, [0, 0, 0, 0]), (second + 46, Array("a".utf8))])).what.contains("twice"))
        _ = try refused(folder, "method differs", edited([(directory + 10, [8, 0])]))
        _ = try refused(folder, "encrypted", edited([(directory + 8, [1, 0])]))
        _ = try refused(folder, "name differs", edited([(30, Array("z".utf8))]))
        _ = try refused(folder, "second offset is the first's", edited([(second + 42, [0, 0, 0, 0])]))
        _ = try refused(folder, "offset past the end", edited([(directory + 42, [0xFF, 0xFF, 0xFF, 0x7F])]))
        _ = try refused(folder, "wide offset without its field", edited([(directory + 42, [0xFF, 0xFF, 0xFF, 0xFF])]))
        _ = try refused(folder, "sizes past the end", edited([(directory + 20, [0, 0, 0, 0x7F, 0, 0, 0, 0x7F])]))
        _ = try refused(folder, "sizes differ", edited([(directory + 20, [1])]))
        _ = try refused(folder, "size over the next entry", edited([(directory + 20, [200, 0, 0, 0, 200, 0, 0, 0])]))
        _ = try refused(folder, "more entries than there are", edited([(end + 8, [3, 0, 3, 0])]))
        _ = try refused(folder, "fewer entries than there are", edited([(end + 8, [1, 0, 1, 0])]))
        _ = try refused(folder, "very many entries", edited([(end + 8, [0xFF, 0xFF, 0xFF, 0xFF])]))
        _ = try refused(folder, "directory past the end", edited([(end + 16, [0xFF, 0xFF, 0xFF, 0x7F])]))
        _ = try refused(folder, "directory too long", edited([(end + 12, [0xFF, 0xFF, 0, 0])]))
        _ = try refused(folder, "comment past the end", edited([(end + 20, [1, 0])]))
        _ = try refused(folder, "name not UTF-8", edited([(30, [0xFF]), (directory + 46, [0xFF])]))
        _ = try refused(folder, "no npy", edited([(34, Array("x".utf8)), (directory + 50, Array("x".utf8))]))
        _ = try refused(folder, "empty", [])
        _ = try refused(folder, "text", Array("hello".utf8))
        for length in stride(from: 0, to: good.count, by: 7) { _ = try refused(folder, "cut at \(length)", Array(good[..<length])) }
    }

    @Test func acceptsAComment() throws {
        let folder = try TemporaryFolder()
        var bytes = try archive(folder).bytes
        bytes[bytes.count - 2] = 3
        let file = try NumPyFile(npz: folder.file("c.npz", bytes + Array("PK\u{5}".utf8)))
        #expect(try file.values(of: "b", as: Float.self) == [3, 4])
    }

    @Test func noticesDamagedValues() throws {
        let folder = try TemporaryFolder()
        var (bytes, directory) = try archive(folder)
        bytes[directory - 1] ^= 1
        let file = try NumPyFile(npz: folder.file("d.npz", bytes))
        #expect(try file.values(of: "a", as: Float.self) == [1, 2])
        #expect(lensError { _ = try file.bytes(of: "b") }.what.contains("checksum"))
    }
}
