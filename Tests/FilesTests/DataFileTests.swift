// Files are read within their bounds, and a file that shrinks is an error; a written file appears whole or not at all.
import Foundation
import LensFiles
import Testing

@Suite struct DataFileTests {
    @Test func readsRanges() throws {
        let folder = try TemporaryFolder()
        let file = try DataFile(path: folder.file("a", Array(0..<100)))
        #expect(file.size == 100)
        #expect(try file.read(10..<13) == [10, 11, 12])
        #expect(try file.read(100..<100) == [])
        #expect(try file.readAll(limit: 100) == Array(0..<100))
        var buffer = [UInt8](repeating: 255, count: 4)
        try buffer.withUnsafeMutableBytes { try file.read(at: 96, into: $0) }
        #expect(buffer == [96, 97, 98, 99])
        #expect(try DataFile(path: folder.file("empty", [UInt8]())).readAll(limit: 0) == [])
    }

    @Test func refusesRangesOutside() throws {
        let folder = try TemporaryFolder()
        let file = try DataFile(path: folder.file("a", [1, 2, 3] as [UInt8]))
        for range in [2..<4, -1..<1, 0..<Int.max, Int.max..<Int.max, Int.min..<Int.max] {
            #expect(lensError { _ = try file.read(range) }.kind == .format)
        }
        var buffer = [UInt8](repeating: 0, count: 2)
        for offset in [2, -1, Int.max, Int.max - 1, Int.min] {
            let error = lensError { try buffer.withUnsafeMutableBytes { try file.read(at: offset, into: $0) } }
            #expect(error.kind == .format)
        }
        #expect(lensError { _ = try file.readAll(limit: 2) }.kind == .file)
    }

    @Test func refusesWhatIsNoRegularFile() throws {
        let folder = try TemporaryFolder()
        #expect(mkfifo(folder("pipe"), 0o600) == 0)
        #expect(lensError { _ = try DataFile(path: folder("pipe")) }.found == "a pipe")
        #expect(lensError { _ = try DataFile(path: folder.path) }.found == "a folder")
        #expect(lensError { _ = try DataFile(path: "/dev/null") }.found == "a device")
        #expect(lensError { _ = try DataFile(path: folder("none")) }.found == "No such file or directory")
        #expect(lensError { _ = try DataFile(path: "") }.kind == .file)
        #expect(lensError { _ = try DataFile(path: folder("a\0b")) }.kind == .file)
        #expect(lensError { _ = try DataFile(path: folder(String(repeating: "x", count: 5_000))) }.kind == .file)
    }

    @Test func noticesAFileCutShort() throws {
        let folder = try TemporaryFolder()
        let file = try DataFile(path: folder.file("a", [UInt8](repeating: 1, count: 10_000)))
        #expect(truncate(folder("a"), 5_000) == 0)
        #expect(try file.read(0..<5_000).count == 5_000)
        let error = lensError { _ = try file.read(0..<10_000) }
        #expect(error.kind == .file && error.what.contains("cut short"))
        #expect(lensError { _ = try file.read(9_000..<9_001) }.kind == .file)
    }

    @Test func readsFromManyTasks() async throws {
        let folder = try TemporaryFolder()
        let file = try DataFile(path: folder.file("a", (0..<1_000).map { UInt8($0 % 251) }))
        try await withThrowingTaskGroup(of: Bool.self) { group in
            for i in 0..<64 { group.addTask { try file.read(i..<(i + 900)) == (i..<(i + 900)).map { UInt8($0 % 251) } } }
            for try await same in group { #expect(same) }
        }
    }
}

@Suite struct AtomicFileWriterTests {
    @Test(arguments: [1, 7, 64, 1 << 20])
    func writesEverythingInOrder(_ bufferSize: Int) throws {
        let folder = try TemporaryFolder()
        let writer = try AtomicFileWriter(path: folder("a"), bufferSize: bufferSize)
        var expected: [UInt8] = []
        for length in [0, 1, 3, 63, 64, 65, 1_000, 2, 0] {
            let piece = (0..<length).map { UInt8(truncatingIfNeeded: $0 + length) }
            try writer.write(piece)
            expected += piece
        }
        try writer.overwrite(at: 2, with: [9, 9, 9])
        expected.replaceSubrange(2..<5, with: [9, 9, 9])
        try writer.write([7])
        expected.append(7)
        #expect(writer.bytesWritten == expected.count)
        #expect(try !folder.contents.contains("a"))
        try writer.commit()
        #expect(try bytes(at: folder("a")) == expected)
        #expect(try folder.contents == ["a"])
        #expect(lensError { try writer.write([1]) }.kind == .usage)
        #expect(lensError { try writer.commit() }.kind == .usage)
    }

    @Test func aDroppedWriterChangesNothing() throws {
        let folder = try TemporaryFolder()
        try folder.file("a", "old")
        do {
            let writer = try AtomicFileWriter(path: folder("a"), bufferSize: 1)
            try writer.write([1, 2, 3])
            #expect(try folder.contents.count == 2)
        }
        #expect(try folder.contents == ["a"])
        #expect(try bytes(at: folder("a")) == Array("old".utf8))
        let writer = try AtomicFileWriter(path: folder("a"))
        try writer.write([1])
        writer.cancel()
        writer.cancel()
        #expect(lensError { try writer.commit() }.kind == .usage)
        #expect(try folder.contents == ["a"])
        #expect(try bytes(at: folder("a")) == Array("old".utf8))
    }

    @Test func replacesTheOldFile() throws {
        let folder = try TemporaryFolder()
        try folder.file("a", "old and long")
        let reader = try DataFile(path: folder("a"))
        let writer = try AtomicFileWriter(path: folder("a"))
        try writer.write(Array("new".utf8))
        try writer.commit()
        #expect(try bytes(at: folder("a")) == Array("new".utf8))
        #expect(try reader.readAll(limit: 100) == Array("old and long".utf8))
    }

    @Test func refusesWhatCannotBeWritten() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(atPath: folder("sub"), withIntermediateDirectories: false)
        #expect(mkfifo(folder("pipe"), 0o600) == 0)
        try folder.file("plain", "x")
        for path in [folder("sub"), folder("sub/"), folder("new/"), folder("none/a"), folder("plain/a"), folder("pipe"), "/dev/null", "", "a\0b"] {
            #expect(lensError { _ = try AtomicFileWriter(path: path) }.kind == .file)
        }
        #expect(lensError { _ = try AtomicFileWriter(path: folder("none/a")) }.found == "No such file or directory")
        #expect(try folder.contents == ["pipe", "plain", "sub"])
        if geteuid() != 0 {
            #expect(chmod(folder("sub"), 0o555) == 0 && chmod(folder("plain"), 0o444) == 0)
            #expect(lensError { _ = try AtomicFileWriter(path: folder("sub/a")) }.found == "Permission denied")
            #expect(lensError { _ = try AtomicFileWriter(path: folder("plain")) }.found == "Permission denied")
        }
    }

    @Test func overwritesOnlyWhatWasWritten() throws {
        let folder = try TemporaryFolder()
        let writer = try AtomicFileWriter(path: folder("a"))
        try writer.write([1, 2, 3])
        for offset in [-1, 3, Int.max, Int.min] { #expect(lensError { try writer.overwrite(at: offset, with: [0]) }.kind == .usage) }
    }

    @Test func writesAReadableFile() throws {
        let folder = try TemporaryFolder()
        try SafetensorsWriter.write([], to: folder("a"))
        var info = stat()
        #expect(stat(folder("a"), &info) == 0)
        #expect(info.st_mode & 0o777 & ~0o644 == 0 && info.st_mode & 0o400 != 0)
    }
}
