// PyTorch files that torch itself wrote: every type, views, both formats, checkpoints; and those that must be refused.
import Foundation
import LensFiles
import Testing

/// The files of Goldens/pytorch (make_pytorch.py).
enum PyTorchGoldens {
    static let folder = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/Goldens/pytorch"
    static let names = list(folder)
    static let refused = list(folder + "/refused")

    private static func list(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0.hasSuffix(".pt") }.map { String($0.dropLast(3)) }.sorted()
    }
}

@Suite struct PyTorchTests {
    @Test(arguments: PyTorchGoldens.names)
    func everyTensorIsTorchs(_ name: String) throws {
        let file = try openTensors(at: "\(PyTorchGoldens.folder)/\(name).pt")
        let expected = try SafetensorsFile(path: "\(PyTorchGoldens.folder)/expected.safetensors")
        let names = expected.names.filter { $0.hasPrefix("\(name)/") }.map { String($0.dropFirst(name.count + 1)) }
        #expect(Set(file.names) == Set(names) && !names.isEmpty)
        for tensor in names {
            let entry = try file.requireEntry(tensor), golden = try expected.requireEntry("\(name)/\(tensor)")
            #expect(entry.dtype == golden.dtype && entry.shape == golden.shape, "\(name): \(tensor)")
            let whole = try expected.bytes(of: golden.name)
            #expect(try file.bytes(of: tensor) == whole, "\(name): \(tensor)")
            // Any part, too.
            let size = entry.dtype.bytesPerBlock
            for (offset, count) in [(1, entry.elementCount - 1), (entry.elementCount / 3, 2), (0, entry.elementCount / 2), (entry.elementCount, 0)]
            where count >= 0 && offset + count <= entry.elementCount {
                var part = [UInt8](repeating: 0xAA, count: count * size)
                try part.withUnsafeMutableBytes { try file.read(tensor, elementOffset: offset, elementCount: count, into: $0) }
                #expect(part == Array(whole[(offset * size)..<((offset + count) * size)]), "\(name): \(tensor), \(count) from \(offset)")
            }
        }
    }

    @Test(arguments: PyTorchGoldens.refused)
    func refusedByName(_ name: String) throws {
        let parts = name.split(separator: ".")
        let wanted = parts.filter { !["zip", "stream", "protocol5"].contains($0) }.joined(separator: ".")
        let error = lensError({ _ = try PyTorchFile(path: "\(PyTorchGoldens.folder)/refused/\(name).pt") }, "\(name)")
        #expect(error.kind == .format && error.description.contains(wanted), "\(error)")
        if wanted == "posix.system" { #expect(error.description.contains("os.system")) }
    }

    @Test func bigEndianFilesAreRefused() throws {
        let folder = try TemporaryFolder()
        for name in ["dtypes", "dtypes-stream"] {
            var contents = try bytes(at: "\(PyTorchGoldens.folder)/\(name).pt")
            if name == "dtypes" {
                let place = try #require(contents.firstRange(of: Array("little".utf8)))
                contents.replaceSubrange(place, with: Array("bigger".utf8))
            } else {
                // The key, its memo, then NEWTRUE.
                let place = try #require(contents.firstRange(of: Array("little_endian".utf8)))
                let flag = try #require(contents[place.upperBound...].firstIndex(of: 0x88))
                contents[flag] = 0x89
            }
            let path = try folder.file("\(name).pt", contents)
            #expect(lensError { _ = try PyTorchFile(path: path) }.description.contains("big-endian"))
        }
    }

    @Test func indexOfSeveral() throws {
        let folder = try TemporaryFolder()
        for (name, golden) in [("pytorch_model-00001-of-00002.bin", "single"), ("pytorch_model-00002-of-00002.bin", "wrapped")] {
            try folder.file(name, try bytes(at: "\(PyTorchGoldens.folder)/\(golden).pt"))
        }
        let index = try folder.file("pytorch_model.bin.index.json", """
            {"metadata": {"total_size": 1}, "weight_map": {"tensor": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}}
            """)
        let tensors = try openTensors(at: index)
        #expect(tensors.names == ["tensor", "b"])
        #expect(try tensors.bytes(of: "b") == PyTorchFile(path: "\(PyTorchGoldens.folder)/wrapped.pt").bytes(of: "b"))
    }
}
