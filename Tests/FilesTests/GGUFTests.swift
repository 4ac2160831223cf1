// GGUF: every type of value, tensors plain and quantised, what is refused, and damage.
import Foundation
import LensFiles
import Testing

/// Writes GGUF bytes by hand.
struct GGUFBytes {
    var bytes: [UInt8] = []

    mutating func put<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }
    mutating func put(_ text: String) {
        put(UInt64(text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }
    mutating func pad(to alignment: Int = 32) { while bytes.count % alignment != 0 { bytes.append(0) } }

    init(values: Int, tensors: Int, version: UInt32 = 3) {
        bytes = Array("GGUF".utf8)
        put(version)
        put(UInt64(tensors))
        put(UInt64(values))
    }

    mutating func value(_ key: String, _ type: UInt32, _ body: (inout GGUFBytes) -> Void) {
        put(key)
        put(type)
        body(&self)
    }

    mutating func tensor(_ name: String, _ axes: [UInt64], type: UInt32, offset: UInt64) {
        put(name)
        put(UInt32(axes.count))
        axes.forEach { put($0) }
        put(type)
        put(offset)
    }

    /// A file with a value of every type and three tensors.
    static func example(version: UInt32 = 3) -> [UInt8] {
        var file = GGUFBytes(values: 15, tensors: 3, version: version)
        file.value("u8", 0) { $0.put(UInt8(200)) }
        file.value("i8", 1) { $0.put(Int8(-100)) }
        file.value("u16", 2) { $0.put(UInt16(60_000)) }
        file.value("i16", 3) { $0.put(Int16(-30_000)) }
        file.value("u32", 4) { $0.put(UInt32(4_000_000_000)) }
        file.value("i32", 5) { $0.put(Int32(-2_000_000_000)) }
        file.value("f32", 6) { $0.put(Float(1.5).bitPattern) }
        file.value("flag", 7) { $0.put(UInt8(1)) }
        file.value("text", 8) { $0.put("Grüße") }
        file.value("u64", 10) { $0.put(UInt64.max) }
        file.value("i64", 11) { $0.put(Int64.min) }
        file.value("f64", 12) { $0.put(Double.pi.bitPattern) }
        file.value("strings", 9) { array in
            array.put(UInt32(8)); array.put(UInt64(2)); array.put("a"); array.put("")
        }
        file.value("nested", 9) { array in
            array.put(UInt32(9)); array.put(UInt64(2))
            array.put(UInt32(1)); array.put(UInt64(3)); [-1, 0, 1].forEach { array.put(Int8($0)) }
            array.put(UInt32(6)); array.put(UInt64(1)); array.put(Float(2).bitPattern)
        }
        file.value("general.alignment", 4) { $0.put(UInt32(64)) }
        file.tensor("a", [3, 2], type: 0, offset: 0)
        file.tensor("q", [32], type: 8, offset: 64)
        file.tensor("b", [], type: 24, offset: 128)
        file.pad(to: 64)
        for value in 0..<6 { file.put(Float(value).bitPattern) }
        file.pad(to: 64)
        file.bytes += (0..<34).map { UInt8($0) }
        file.pad(to: 64)
        file.put(Int8(-7))
        return file.bytes
    }
}

@Suite struct GGUFTests {
    @Test(arguments: [UInt32(2), 3])
    func everyTypeOfValue(_ version: UInt32) throws {
        let folder = try TemporaryFolder()
        let file = try GGUFFile(path: try folder.file("x.gguf", GGUFBytes.example(version: version)))
        #expect(file.version == Int(version) && file.alignment == 64 && file.keys.count == 15 && file.keys[8] == "text")
        #expect(file["u8"] == .uint(200) && file["i8"] == .int(-100) && file["u16"] == .uint(60_000) && file["i16"] == .int(-30_000))
        #expect(file["u32"]?.intValue == 4_000_000_000 && file["i32"]?.intValue == -2_000_000_000)
        #expect(file["u64"] == .uint(.max) && file["u64"]?.intValue == nil && file["i64"]?.intValue == Int.min)
        #expect(file["f32"]?.doubleValue == 1.5 && file["f64"]?.doubleValue == .pi && file["flag"]?.boolValue == true)
        #expect(file["text"]?.stringValue == "Grüße" && file["strings"]?.arrayValue?.strings == ["a", ""])
        #expect(file["nested"] == .array(.arrays([.bytes([255, 0, 1], isSigned: true), .floats([2])])))
        #expect(file["nothing"] == nil)
    }

    @Test func tensors() throws {
        let folder = try TemporaryFolder()
        let file = try openTensors(at: try folder.file("x.gguf", GGUFBytes.example()))
        #expect(file.names == ["a", "q", "b"])
        #expect(file.entry("a")?.shape == [2, 3] && file.entry("b")?.shape == [])
        #expect(try file.values(of: "a", as: Float.self) == [0, 1, 2, 3, 4, 5])
        #expect(try file.values(of: "b", as: Int8.self) == [-7])
        let gguf = try #require(file as? GGUFFile)
        #expect(gguf.tensors.map(\.type) == [.f32, .q8_0, .i8] && "\(gguf.tensors[1].type)" == "Q8_0")
        #expect(try gguf.rawBytes(of: "q") == (0..<34).map { UInt8($0) })
        // A scale of 0x0100, then the numbers 2 to 33.
        let scale = Float(Float16(bitPattern: 0x0100))
        #expect(try file.values(of: "q", as: Float.self) == (2..<34).map { scale * Float($0) })
    }

    private func refused(_ bytes: [UInt8], _ what: String) throws {
        let folder = try TemporaryFolder(), path = try folder.file("x.gguf", bytes)
        let error = lensError { _ = try GGUFFile(path: path) }
        #expect(error.description.contains(what), "\(error)")
    }

    @Test func refusals() throws {
        try refused([], "ends too early")
        try refused(Array("GGML".utf8) + [UInt8](repeating: 0, count: 40), "not a GGUF file")
        try refused(GGUFBytes(values: 0, tensors: 0, version: 1).bytes, "unknown version")
        try refused(GGUFBytes(values: 0, tensors: 0, version: UInt32(3).byteSwapped).bytes, "big-endian")
        try refused(GGUFBytes(values: 1 << 40, tensors: 0).bytes, "more metadata")
        var twice = GGUFBytes(values: 2, tensors: 0)
        twice.value("k", 7) { $0.put(UInt8(0)) }
        twice.value("k", 7) { $0.put(UInt8(0)) }
        try refused(twice.bytes, "given twice")
        func one(_ type: UInt32, key: String = "k", _ body: (inout GGUFBytes) -> Void) -> [UInt8] {
            var file = GGUFBytes(values: 1, tensors: 0)
            file.value(key, type, body)
            return file.bytes + [0, 0, 0, 0]
        }
        try refused(one(13) { _ in }, "unknown type of a metadata value")
        try refused(one(7) { $0.put(UInt8(2)) }, "neither 0 nor 1")
        try refused(one(8) { $0.put(UInt64(1 << 31)) }, "string too long")
        try refused(one(8) { $0.put(UInt64(1)); $0.put(UInt8(0xFF)) }, "no UTF-8")
        try refused(one(9) { $0.put(UInt32(0)); $0.put(UInt64(1 << 29)) }, "array longer than the file")
        try refused(one(9) { array in (0..<20).forEach { _ in array.put(UInt32(9)); array.put(UInt64(1)) } }, "nested too deeply")
        try refused(one(4, key: "general.alignment") { $0.put(UInt32(24)) }, "impossible alignment")
        func tensor(_ axes: [UInt64], type: UInt32 = 0, offset: UInt64 = 0, name: String = "t") -> [UInt8] {
            var file = GGUFBytes(values: 0, tensors: 1)
            file.tensor(name, axes, type: type, offset: offset)
            file.pad()
            return file.bytes + [UInt8](repeating: 0, count: 64)
        }
        try refused(tensor([1, 1, 1, 1, 1]), "too many axes")
        try refused(tensor([1 << 40, 1 << 40]), "impossible shape")
        try refused(tensor([1 << 62]), "impossible size")
        try refused(tensor([17]), "past the end")
        try refused(tensor([1], offset: 32), "at another place")
        try refused(tensor([31], type: 8), "inside a block")
        try refused(tensor([1], type: 4), "unknown type of a tensor")
        try refused(tensor([1], name: String(repeating: "n", count: 64)), "string too long")
    }

    @Test func damage() throws {
        let folder = try TemporaryFolder()
        let whole = GGUFBytes.example()
        var mutator = Mutator(random: Random(state: 4), structured: 400)
        for _ in 0..<1_500 {
            let path = try folder.file("x.gguf", mutator.damage(whole))
            do {
                let file = try GGUFFile(path: path)
                for name in file.names { _ = try file.bytes(of: name) }
            } catch let error as LensError { #expect(!error.description.contains("\n")) }
        }
    }
}
