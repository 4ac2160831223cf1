// Pickles made to harm: calls, bombs, cycles, lies about lengths. Each is refused with an error that says why, quickly and
// in little memory.
import Foundation
import LensFiles
import Testing

/// Opcodes one after another, in the stream format: magic number, version, system, then what a test adds.
private struct PickleBytes {
    var bytes: [UInt8] = [0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E,
                          0x80, 2, 0x4D, 0xE9, 0x03, 0x2E, 0x80, 2, 0x7D, 0x2E, 0x80, 2]

    mutating func op(_ text: String) { bytes.append(contentsOf: text.utf8) }
    mutating func op(_ values: UInt8...) { bytes.append(contentsOf: values) }
    mutating func integer<T: FixedWidthInteger>(_ value: T) { withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) } }

    /// A string.
    mutating func text(_ text: String) {
        op("X")
        integer(UInt32(text.utf8.count))
        op(text)
    }

    mutating func int(_ value: Int32) {
        op("J")
        integer(value)
    }

    /// `_rebuild_tensor_v2(storage "0" of `count` floats, offset, shape, strides, False, OrderedDict())`.
    mutating func tensor(_ shape: [Int32], _ strides: [Int32], offset: Int32 = 0, count: Int32 = 4, type: String = "FloatStorage") {
        op("ctorch._utils\n_rebuild_tensor_v2\n((")
        text("storage")
        op("ctorch\n\(type)\n")
        text("0")
        text("cpu")
        int(count)
        op("NtQ")
        int(offset)
        for numbers in [shape, strides] {
            op("(")
            for number in numbers { int(number) }
            op("t")
        }
        op(0x89)
        op("ccollections\nOrderedDict\n)RtR")
    }

    /// A dictionary with that tensor, and the storage.
    static func file(_ tensor: (inout PickleBytes) -> Void, stored: UInt64 = 4) -> [UInt8] {
        var file = PickleBytes()
        file.op("}")
        file.text("weight")
        tensor(&file)
        file.op("s.")
        file.op(0x80, 2)
        file.op("]")
        file.text("0")
        file.op("a.")
        file.integer(stored)
        for value in [Float](arrayLiteral: 1, 2, 3, 4) { file.integer(value.bitPattern) }
        return file.bytes
    }
}

/// The error of reading everything in a file of `bytes`.
private func pickleError(_ bytes: [UInt8], _ what: Comment? = nil, at place: SourceLocation = #_sourceLocation) throws -> LensError {
    let folder = try TemporaryFolder()
    let path = try folder.file("x.pt", bytes)
    let start = ContinuousClock.now
    let error = lensError({
        let file = try PyTorchFile(path: path)
        for name in file.names { _ = try file.bytes(of: name) }
    }, what, at: place)
    #expect(ContinuousClock.now - start < .seconds(60), what, sourceLocation: place)
    #expect(error.kind == .format, what, sourceLocation: place)
    return error
}

@Suite struct HostilePickleTests {
    @Test func handWrittenTensor() throws {
        let folder = try TemporaryFolder()
        let path = try folder.file("x.pt", PickleBytes.file { $0.tensor([2, 2], [1, 2]) })
        #expect(try PyTorchFile(path: path).values(of: "weight", as: Float.self) == [1, 3, 2, 4])
    }

    @Test func names() throws {
        for (module, name) in [("os", "system"), ("posix", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("__builtin__", "getattr"),
                               ("importlib", "import_module"), ("torch", "load"), ("torch.hub", "load"), ("runpy", "_run_code"), ("a.b", "c\u{7}")] {
            for stack in [false, true] {
                var file = PickleBytes()
                if stack {
                    file.text(module)
                    file.text(name)
                    file.op(0x93)
                } else {
                    file.op("c\(module)\n\(name)\n")
                }
                file.op("(")
                file.text("echo run")
                file.op("tR.")
                let error = try pickleError(file.bytes)
                #expect(error.found?.contains("\(module).\(name)") == true, "\(error)")
            }
        }
    }

    /// Opcodes that make objects or reach outside are refused by their own names.
    @Test func opcodes() throws {
        for (body, name) in [("(ios\nsystem\n.", "INST"), ("(cos\nsystem\no.", "os.system"), ("(X\u{1}\0\0\0ao.", "OBJ"), ("P1\n.", "PERSID"), ("I1\n.", "INT"),
                             ("S'a'\n.", "STRING"), ("\u{FF}.", "byte")] {
            var file = PickleBytes()
            file.op(body)
            #expect(try pickleError(file.bytes).description.contains(name))
        }
        for (opcode, name) in [(UInt8(0x82), "EXT1"), (0x92, "NEWOBJ_EX"), (0x97, "NEXT_BUFFER")] {
            var file = PickleBytes()
            file.op(opcode)
            #expect(try pickleError(file.bytes).description.contains(name))
        }
    }

    /// Calls in calls, and allowed functions with what they do not take.
    @Test func misusedFunctions() throws {
        let rebuild = "ctorch._utils\n_rebuild_tensor_v2\n", type = "ctorch._tensor\n_rebuild_from_type_v2\n"
        for body in [rebuild + ")R.", rebuild + "(NNNNtR.", rebuild + rebuild + "\u{85}R.", type + "(" + type + "N)NtR.", type + "(ccollections\nOrderedDict\nN)NtR.",
                     "ctorch\nFloatStorage\n)R.", "ctorch\nTensor\n)\u{81}.", "ctorch._utils\n_rebuild_parameter\n(NtR.", "N)R.", "ccollections\nOrderedDict\nNR.",
                     "ccollections\nOrderedDict\n(]tRNb.", "ctorch\nSize\n(NtR.", "c_codecs\nencode\n(NtR.", "ccollections\nOrderedDict\n(](NNNtatR."] {
            var file = PickleBytes()
            file.bytes += body.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
            _ = try pickleError(file.bytes, "\(body)")
        }
    }

    @Test func brokenStacks() throws {
        for body in [".", "0.", "1.", "t.", "a.", "(a.", "]a.", "e.", "](e", "s.", "}s.", "}Ns.", "u.", "}(Nu.", "N(u.", "R.", "b.", "Nb.", "Q.", "NQ.", ")Q.", "q\u{1}.", "h\u{1}.", "j\0\0\0\u{7F}.",
                     "(.", "(q\u{1}.", "((t.", "(N0).", "X\u{7F}\u{7F}\u{7F}\u{7F}a.", "", "(", "J\0", "]N)e."] {
            var file = PickleBytes()
            file.op(body)
            _ = try pickleError(file.bytes, "\(body)")
        }
    }

    @Test func lengthsThatLie() throws {
        for opcode in [UInt8(ascii: "X"), UInt8(ascii: "T"), UInt8(ascii: "B"), 0x8B] {
            for length in [UInt32.max, 0x8000_0000, 0x7FFF_FFFF, 1 << 24] {
                var file = PickleBytes()
                file.op(opcode)
                file.integer(length)
                _ = try pickleError(file.bytes)
            }
        }
        for opcode in [UInt8(0x8D), 0x8E, 0x96] {
            for length in [UInt64.max, 1 << 63, UInt64(Int.max), 1 << 40] {
                var file = PickleBytes()
                file.op(opcode)
                file.integer(length)
                _ = try pickleError(file.bytes)
            }
        }
        // A long integer as long as the file says, and no tensor.
        var file = PickleBytes()
        file.op(0x8B)
        file.integer(UInt32(1 << 20))
        file.bytes += [UInt8](repeating: 0xFE, count: 1 << 20)
        file.op(".")
        file.op("]")
        _ = try pickleError(file.bytes)
    }

    /// Containers in containers, deeper than any stack.
    @Test func nesting() throws {
        for (open, close) in [("]", "a"), ("}K\u{1}", "s"), ("(", "t")] {
            var file = PickleBytes()
            file.op("}K\u{1}")
            for _ in 0..<100_000 { file.op(open) }
            file.op("N")
            for _ in 0..<100_000 { file.op(close) }
            file.op("s.]..")
            _ = try pickleError(file.bytes, "\(open)")
        }
    }

    @Test func tensorsOutsideTheirStorage() throws {
        let tensors: [([Int32], [Int32], Int32, Int32)] = [
            ([5], [1], 0, 4), ([4], [1], 1, 4), ([2, 2], [3, 2], 0, 4), ([2], [.max], 0, 4), ([1], [1], .max, 4), ([.max, .max, .max], [1, 1, 1], 0, 4),
            ([.max, .max], [0, 0], 0, 4), ([1 << 25], [0], 0, 4), ([-1], [1], 0, 4), ([2], [-1], 1, 4), ([1], [1], -1, 4), ([4], [1], 0, 5), ([4], [1], 0, .max), ([4], [1], 0, -4),
        ]
        for (shape, strides, offset, count) in tensors {
            _ = try pickleError(PickleBytes.file { $0.tensor(shape, strides, offset: offset, count: count) }, "\(shape) \(strides) from \(offset) of \(count)")
        }
        for stored in [UInt64.max, 1 << 62, 5, 1 << 40] { _ = try pickleError(PickleBytes.file({ $0.tensor([4], [1]) }, stored: stored), "\(stored)") }
        _ = try pickleError(PickleBytes.file({ $0.tensor([4], [1]) }, stored: 3))
        _ = try pickleError(PickleBytes.file { $0.tensor([4], [1], type: "DoubleStorage") })
        _ = try pickleError(PickleBytes.file { $0.tensor([4], [1], type: "UntypedStorage") })
    }
}

extension MutationTests {
    /// Few bytes that stand for very many values: every level holds the one below many times.
    @Test func bombs() throws {
        let before = peakMemory()
        var lists = PickleBytes()
        lists.tensor([1], [1])
        lists.op("q\u{1}0]h\u{1}aq\u{1}")
        for _ in 0..<200 { lists.op("0](h\u{1}h\u{1}h\u{1}h\u{1}h\u{1}h\u{1}h\u{1}h\u{1}eq\u{1}") }
        lists.op(".]..")
        _ = try pickleError(lists.bytes, "lists of lists")
        // One long list, copied as often as the file has room to say so.
        for copy in ["ccollections\nOrderedDict\nq\u{2}", "cbuiltins\nset\nq\u{2}"] {
            var file = PickleBytes()
            file.op("](")
            for _ in 0..<10_000 { file.op(")q\u{1}0(NN") ; file.op("t") }
            file.op("eq\u{1}0](")
            file.op(copy)
            file.op("0")
            for _ in 0..<20_000 { file.op("h\u{2}h\u{1}") ; file.op(0x85) ; file.op("R0") }
            file.op("e.")
            #expect(try pickleError(file.bytes, "copies").description.contains("steps"))
        }
        var cycle = PickleBytes()
        cycle.op("}q\u{1}K\u{1}h\u{1}s.")
        cycle.op(0x80, 2)
        cycle.op("].")
        _ = try pickleError(cycle.bytes, "a dictionary in itself")
        var long = PickleBytes()
        long.bytes += [UInt8](repeating: UInt8(ascii: "]"), count: 9 << 20)
        #expect(try pickleError(long.bytes, "nothing but lists").description.contains("steps"))
        #expect(peakMemory() - before < 1 << 30)
    }

    /// Damage of real files: read, or refused.
    @Test(arguments: ["dtypes", "views-stream", "checkpoint-protocol4", "new-dtypes"])
    func damagedPickle(_ name: String) throws {
        let original = try bytes(at: "\(PyTorchGoldens.folder)/\(name).pt")
        let refused = try check("\(name).pt", original, structured: original.count, rounds: Self.rounds / 5) { path in
            let file = try PyTorchFile(path: path)
            for name in file.names {
                let entry = try file.requireEntry(name)
                #expect(try file.bytes(of: name).count == entry.byteCount)
            }
        }
        #expect(refused > Self.rounds / 20 && refused < Self.rounds / 5)
    }
}
