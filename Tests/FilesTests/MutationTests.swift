// Thousands of damaged files, the same every time: each is read or refused with a LensError, within bounded memory.
import Foundation
import LensFiles
import Testing

/// Makes damaged copies: bits flipped, bytes replaced, cut, spliced, repeated, numbers and lengths changed.
struct Mutator {
    var random: Random
    /// How many bytes from the start hold lengths and offsets; half the damage goes there.
    let structured: Int

    private static let values: [UInt64] = [0, 1, 7, 8, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 62, 1 << 63, .max - 7, .max]

    mutating func damage(_ original: [UInt8]) -> [UInt8] {
        var bytes = original
        for _ in 0..<Int.random(in: 1...3, using: &random) { change(&bytes) }
        return bytes
    }

    private mutating func place(_ bytes: [UInt8]) -> Int {
        let limit = Bool.random(using: &random) ? min(structured, bytes.count) : bytes.count
        return limit > 0 ? Int.random(in: 0..<limit, using: &random) : 0
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        if bytes.isEmpty { return }
        let at = place(bytes), to = min(bytes.count, at + Int.random(in: 0..<64, using: &random))
        switch Int.random(in: 0..<9, using: &random) {
        case 0: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 2: bytes.removeSubrange(at...)
        case 3: bytes.removeSubrange(at..<to)
        case 4: bytes.insert(contentsOf: bytes[at..<to], at: place(bytes))
        case 5: bytes.append(contentsOf: bytes[at..<to])
        case 6: overwriteInteger(&bytes, at)
        case 7: editDigits(&bytes, from: at)
        default:
            if let mark = ["{", "}", "[", "]", "\"", ",", ":", "\\", "-", "e", "\0"].randomElement(using: &random) { bytes[at] = mark.utf8.first ?? 0 }
        }
    }

    /// A little-endian integer of 2, 4 or 8 bytes, replaced by one at the edge of something.
    private mutating func overwriteInteger(_ bytes: inout [UInt8], _ at: Int) {
        let value = Self.values.randomElement(using: &random) ?? 0
        for i in 0..<([2, 4, 8].randomElement(using: &random) ?? 2) where at + i < bytes.count { bytes[at + i] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(i))) }
    }

    /// The next run of decimal digits, replaced.
    private mutating func editDigits(_ bytes: inout [UInt8], from at: Int) {
        let isDigit = { (byte: UInt8) in (0x30...0x39).contains(byte) }
        guard let first = bytes[at...].firstIndex(where: isDigit) else { return }
        let end = bytes[first...].firstIndex { !isDigit($0) } ?? bytes.count
        let text = ["-1", "0", "1.5", "1e9", "00", "\(Self.values.randomElement(using: &random) ?? 0)"].randomElement(using: &random) ?? "0"
        bytes.replaceSubrange(first..<end, with: text.utf8)
    }
}

/// The most memory the process ever held, in bytes.
func peakMemory() -> Int {
    var usage = rusage()
    getrusage(.init(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss * 1_024
}

/// Also everything else that measures memory: one at a time.
@Suite(.serialized) struct MutationTests {
    /// Per format; `LENS_FUZZ_ROUNDS` asks for more.
    static let rounds = ProcessInfo.processInfo.environment["LENS_FUZZ_ROUNDS"].flatMap { Int($0) } ?? 2_000

    /// Damages `original` many times; `read` must return or throw a LensError. Says how often it threw.
    func check(_ name: String, _ original: [UInt8], structured: Int, rounds: Int = Self.rounds, _ read: (String) throws -> Void) throws -> Int {
        let folder = try TemporaryFolder()
        var mutator = Mutator(random: Random(state: UInt64(original.count)), structured: structured)
        var refused = 0
        let before = peakMemory()
        for round in 0..<rounds {
            let path = try folder.file(name, mutator.damage(original))
            do {
                try read(path)
            } catch let error as LensError {
                refused += 1
                #expect(!error.description.isEmpty && !error.description.contains("\n"))
            } catch {
                Issue.record("round \(round) of \(name): \(error)")
            }
        }
        #expect(peakMemory() - before < 200 << 20, "more memory than \(name) is worth")
        return refused
    }

    private func readAll(_ source: any TensorSource) throws {
        for name in source.names {
            let entry = try source.requireEntry(name)
            #expect(try source.bytes(of: name).count == entry.byteCount)
        }
    }

    private func tensors() throws -> [TensorContent] {
        [try TensorContent("blocks.0.attn.W_Q", shape: [3, 4], [Float](repeating: 0.5, count: 12)), try TensorContent("embed", shape: [5], [1, 2, 3, 4, 5] as [Int64]),
         try TensorContent("scalar", shape: [], [1] as [Double]), try TensorContent("empty", shape: [0, 3], [] as [Float]),
         try TensorContent("mask", .bool, shape: [7], bytes: [1, 0, 1, 0, 1, 0, 1])]
    }

    @Test func damagedSafetensors() throws {
        let folder = try TemporaryFolder()
        try SafetensorsWriter.write(tensors(), metadata: ["format": "pt"], to: folder("x"))
        let original = try bytes(at: folder("x"))
        let refused = try check("x.safetensors", original, structured: original.count - 103) { try readAll(try SafetensorsFile(path: $0)) }
        #expect(refused > Self.rounds / 2 && refused < Self.rounds)
    }

    @Test func damagedNpz() throws {
        let folder = try TemporaryFolder()
        try NumPyWriter.write(npz: tensors(), to: folder("x"))
        let original = try bytes(at: folder("x"))
        // The directory is at the end: no part is favoured.
        let refused = try check("x.npz", original, structured: original.count) { try readAll(try NumPyFile(npz: $0)) }
        #expect(refused > Self.rounds / 2)
    }

    @Test func damagedNpy() throws {
        let folder = try TemporaryFolder()
        try NumPyWriter.write(npy: tensors()[0], to: folder("x"))
        let refused = try check("x.npy", bytes(at: folder("x")), structured: 80) { try readAll(try NumPyFile(npy: $0)) }
        #expect(refused > Self.rounds / 4 && refused < Self.rounds)
    }

    @Test func damagedIndex() throws {
        let folder = try TemporaryFolder()
        let index = #"{"metadata":{"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#
        try SafetensorsWriter.write([TensorContent("a", shape: [1], [1] as [Float])], to: folder("model-00001-of-00002.safetensors"))
        try SafetensorsWriter.write([TensorContent("b", shape: [1], [1] as [Float])], to: folder("model-00002-of-00002.safetensors"))
        let refused = try check("i.json", Array(index.utf8), structured: 120) { path in
            try folder.file("model.safetensors.index.json", try bytes(at: path))
            try readAll(try openTensors(at: folder("model.safetensors.index.json")))
        }
        #expect(refused > Self.rounds / 2)
    }

    @Test func damagedJSON() throws {
        let text = #"{"model":{"type":"BPE","vocab":{"a":0,"b\u00e9\ud83d\ude00":1,"é":2},"scores":[-3.4635426998138428,1e-5,0.1,-0.0,12345678901234567890]},"x":[[[]],{},null,true,false,"\\\"\/"]}"#
        let refused = try check("x.json", Array(text.utf8), structured: 200) { path in
            let value = try JSON.parse(file: path)
            let again = try JSON.parse(try value.utf8(), at: "again")
            #expect(again == value)
        }
        #expect(refused > Self.rounds / 2 && refused < Self.rounds)
    }
}
