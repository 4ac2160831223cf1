// Downloads from a real HTTP server on the loopback interface, into the hub's own cache layout.

import Foundation
import LensFiles
@testable import LensHub
import LensZoo
import Testing

@Suite struct HubTests {
    /// A cache folder of its own, and settings that do not wait.
    struct Place {
        let cache = FileManager.default.temporaryDirectory.appendingPathComponent("lens-hub-\(UUID().uuidString)").path

        func hub(_ server: LoopbackServer, _ change: (inout HubSettings) -> Void = { _ in }) -> Hub {
            var settings = HubSettings(cache: cache)
            settings.endpoint = server.address
            settings.firstWait = 0.01
            settings.connectTimeout = 5
            settings.stallTimeout = 5
            change(&settings)
            return Hub(settings)
        }

        func remove() { try? FileManager.default.removeItem(atPath: cache) }
    }

    static let weights: [UInt8] = (0..<150_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
    static let plain = ServedRepository(files: [
        "config.json": Array(#"{"model_type": "gpt2"}"#.utf8), "tokenizer.json": Array("{}".utf8), "README.md": Array("hello".utf8),
        "model.safetensors": weights, "pytorch_model.bin": [1, 2, 3], "onnx/model.onnx": [1], "flax_model.msgpack": [2],
    ])

    private func content(_ path: String) -> [UInt8]? { FileManager.default.contents(atPath: path).map { [UInt8]($0) } }

    @Test func layoutIsTheHubs() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, _ in repository.answer(request) }
        defer { server.stop() }
        let hub = place.hub(server)
        let folder = try await hub.folder(of: "org/tiny")
        let root = "\(place.cache)/models--org--tiny"
        #expect(folder == "\(root)/snapshots/\(repository.commit)")
        #expect(content("\(root)/refs/main") == Array(repository.commit.utf8))
        #expect(content("\(folder)/model.safetensors") == Self.weights)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/config.json") == "../../blobs/\(repository.etag("config.json"))")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["config.json", "model.safetensors", "tokenizer.json"])
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(root)/blobs").allSatisfy { !$0.hasSuffix(".incomplete") })
        // What is there is not asked for again, whatever it is called.
        let count = server.seen.count
        #expect(try await hub.folder(of: "org/tiny@\(repository.commit)") == folder)
        #expect(try await hub.folder(of: "org/tiny") == folder)
        #expect(server.seen.count == count)
    }

    /// The tokenizer of a repository that a configuration names: its small files, and no weights.
    @Test func aTokenizersRepository() throws {
        let place = Place(), repository = ServedRepository(id: "org/words", files: Self.plain.files)
        defer { place.remove() }
        let server = try LoopbackServer { request, _ in repository.answer(request) }
        defer { server.stop() }
        let hub = place.hub(server), offline = place.hub(server) { $0.isOffline = true }
        let hasTokenizer = { (folder: String) in FileManager.default.fileExists(atPath: folder + "/tokenizer.json") }
        #expect(try offline.blockingTokenizer(named: "org/words", where: hasTokenizer) == nil)
        let folder = try #require(try hub.blockingTokenizer(named: "org/words", where: hasTokenizer))
        #expect(folder == "\(place.cache)/models--org--words/snapshots/\(repository.commit)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["config.json", "tokenizer.json"])
        let count = server.seen.count
        #expect(try offline.blockingTokenizer(named: "org/words", where: hasTokenizer) == folder)
        #expect(server.seen.count == count)
        #expect(try hub.blockingTokenizer(named: "../etc", where: hasTokenizer) == nil)
    }

    @Test func cutConnectionsAreResumed() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, _ in
            var answer = repository.answer(request)
            if request.path.hasSuffix("model.safetensors") { answer.cutAfter = 20_000 }
            return answer
        }
        defer { server.stop() }
        let folder = try await place.hub(server) { $0.attempts = 2 }.folder(of: "org/tiny")
        #expect(content("\(folder)/model.safetensors") == Self.weights)
        let starts = server.seen.filter { $0.method == "GET" && $0.path.hasSuffix("model.safetensors") }.map { $0.rangeStart ?? 0 }
        #expect(starts == Array(stride(from: 0, to: 150_000, by: 20_000)))
    }

    @Test func aNewClientGoesOnWhereAnotherWasCut() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, before in
            var answer = repository.answer(request)
            if request.path.hasSuffix("model.safetensors"), request.method == "GET" { answer.cutAfter = before == 0 ? 50_000 : before < 3 ? 0 : nil }
            return answer
        }
        defer { server.stop() }
        await #expect(throws: LensError.self) { try await place.hub(server) { $0.attempts = 2 }.folder(of: "org/tiny") }
        let folder = try await place.hub(server).folder(of: "org/tiny")
        #expect(content("\(folder)/model.safetensors") == Self.weights)
        #expect(server.seen.last { $0.path.hasSuffix("model.safetensors") }?.rangeStart == 50_000)
    }

    @Test func aServerWithoutRangesStartsAgain() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, before in
            let answer = repository.answer(request)
            guard request.path.hasSuffix("model.safetensors"), request.method == "GET" else { return answer }
            // 203 is an answer with a body that no range changes.
            return ServedAnswer(status: 203, body: answer.body, cutAfter: before == 0 ? 30_000 : nil)
        }
        defer { server.stop() }
        let folder = try await place.hub(server).folder(of: "org/tiny")
        #expect(content("\(folder)/model.safetensors") == Self.weights)
    }

    @Test(arguments: [429, 500, 502, 503, 504])
    func passingTroubleIsWaitedOut(_ status: Int) async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, before in
            before < 2 ? ServedAnswer(status: status, headers: ["Retry-After: 0"], body: [9, 9]) : repository.answer(request)
        }
        defer { server.stop() }
        let folder = try await place.hub(server).folder(of: "org/tiny")
        #expect(content("\(folder)/model.safetensors") == Self.weights)
    }

    @Test func lastingTroubleIsAnError() async throws {
        let place = Place()
        defer { place.remove() }
        let server = try LoopbackServer { _, _ in ServedAnswer(status: 500) }
        defer { server.stop() }
        let error = await #expect(throws: LensError.self) { try await place.hub(server).folder(of: "org/tiny") }
        #expect(error?.kind == .file && error?.found == "status 500")
        #expect(server.seen.count == 5)
    }

    @Test(arguments: [(401, "", LensError.Kind.name, "HF_TOKEN"), (403, "GatedRepo", .file, "terms"), (404, "RepoNotFound", .name, "name"),
                      (404, "RevisionNotFound", .name, "revision")])
    func refusalsSayWhatToDo(_ status: Int, _ code: String, _ kind: LensError.Kind, _ says: String) async throws {
        let place = Place()
        defer { place.remove() }
        let server = try LoopbackServer { _, _ in ServedAnswer(status: status, headers: code.isEmpty ? [] : ["X-Error-Code: \(code)"]) }
        defer { server.stop() }
        let error = await #expect(throws: LensError.self) { try await place.hub(server).folder(of: "org/tiny") }
        #expect(error?.kind == kind)
        #expect(error?.description.contains(says) == true, "\(error?.description ?? "")")
        #expect(server.seen.count == 1)
    }

    @Test func tokensStayWithTheHub() async throws {
        let place = Place()
        defer { place.remove() }
        var repository = Self.plain
        let contents = try LoopbackServer { [repository] request, _ in ServedAnswer(body: repository.files[String(request.path.dropFirst())] ?? []) }
        // Another host by name, as the contents' is.
        repository.elsewhere["model.safetensors"] = "http://localhost:\(contents.port)"
        let server = try LoopbackServer { [repository] request, _ in repository.answer(request) }
        defer {
            server.stop()
            contents.stop()
        }
        let folder = try await place.hub(server) { $0.token = "hf_secret" }.folder(of: "org/tiny")
        #expect(content("\(folder)/model.safetensors") == Self.weights)
        #expect(server.seen.allSatisfy { $0.headers["authorization"] == "Bearer hf_secret" })
        #expect(contents.seen.count == 1 && contents.seen.allSatisfy { $0.headers["authorization"] == nil })
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/model.safetensors").hasSuffix(repository.etag("model.safetensors")))
    }

    @Test func damagedContentsAreNotKept() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, _ in
            var answer = repository.answer(request)
            if request.path.hasSuffix("model.safetensors"), !answer.body.isEmpty { answer.body[77] ^= 1 }
            return answer
        }
        defer { server.stop() }
        let error = await #expect(throws: LensError.self) { try await place.hub(server).folder(of: "org/tiny") }
        #expect(error?.expected?.hasPrefix("hash ") == true)
        #expect(!FileManager.default.fileExists(atPath: "\(place.cache)/models--org--tiny/blobs/\(repository.etag("model.safetensors"))"))
        #expect(!FileManager.default.fileExists(atPath: "\(place.cache)/models--org--tiny/refs/main"))
    }

    @Test func offlineAsksNobody() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, _ in repository.answer(request) }
        defer { server.stop() }
        await #expect(throws: LensError.self) { try await place.hub(server) { $0.isOffline = true }.folder(of: "org/tiny") }
        #expect(server.seen.isEmpty)
        let folder = try await place.hub(server).folder(of: "org/tiny")
        #expect(try await place.hub(server) { $0.isOffline = true }.folder(of: "org/tiny") == folder)
    }

    @Test func withoutAServerTheErrorSaysSo() async throws {
        let place = Place()
        defer { place.remove() }
        let server = try LoopbackServer { _, _ in ServedAnswer() }
        server.stop()
        let error = await #expect(throws: LensError.self) { try await place.hub(server).folder(of: "org/tiny") }
        #expect(error?.what == "the hub does not answer" && error?.advice?.contains("network") == true)
    }

    @Test func cancelledDownloadsStop() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, _ in
            var answer = repository.answer(request)
            answer.delay = 0.8
            return answer
        }
        defer { server.stop() }
        let hub = place.hub(server)
        let task = Task { try await hub.folder(of: "org/tiny") }
        try await Task.sleep(for: .milliseconds(300))
        let begin = ContinuousClock.now
        task.cancel()
        let error = await #expect(throws: LensError.self) { try await task.value }
        #expect(error?.kind == .cancelled)
        #expect(ContinuousClock.now - begin < .seconds(6))
    }

    @Test func twoAtOnceShareOneCache() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, _ in repository.answer(request) }
        defer { server.stop() }
        let hub = place.hub(server)
        async let first = hub.folder(of: "org/tiny"), second = hub.folder(of: "org/tiny")
        let folders = try await [first, second]
        #expect(folders[0] == folders[1])
        #expect(content("\(folders[0])/model.safetensors") == Self.weights)
        #expect(server.seen.filter { $0.method == "GET" && $0.path.hasSuffix("model.safetensors") }.count == 1)
    }

    @Test func namesFromTheNetworkStayInTheirFolder() async throws {
        let place = Place()
        defer { place.remove() }
        var repository = Self.plain
        repository.files["../../evil.json"] = [1]
        repository.files["/evil.json"] = [1]
        let served = repository
        let server = try LoopbackServer { request, _ in served.answer(request) }
        defer { server.stop() }
        let folder = try await place.hub(server).folder(of: "org/tiny")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 3)
        // An etag that is a path.
        let other = Place()
        defer { other.remove() }
        let evil = try LoopbackServer { request, _ in
            var answer = served.answer(request)
            answer.headers = answer.headers.map { $0.hasPrefix("ETag") ? "ETag: \"../../x\"" : $0 }
            return answer
        }
        defer { evil.stop() }
        await #expect(throws: LensError.self) { try await other.hub(evil).folder(of: "org/tiny") }
    }

    @Test(arguments: ["", "[]", "{}", "{\"sha\": 3}", "{\"sha\": \"../x\", \"siblings\": []}", "{\"sha\": \"ab\", \"siblings\": {}}",
                      "{\"sha\": \"ab\", \"siblings\": []}", "<html>"])
    func nonsenseIsAnError(_ body: String) async throws {
        let place = Place()
        defer { place.remove() }
        let server = try LoopbackServer { _, _ in ServedAnswer(body: Array(body.utf8)) }
        defer { server.stop() }
        await #expect(throws: LensError.self) { try await place.hub(server).folder(of: "org/tiny") }
    }

    @Test func progressGrowsToTheTotal() async throws {
        let place = Place(), repository = Self.plain
        defer { place.remove() }
        let server = try LoopbackServer { request, _ in repository.answer(request) }
        defer { server.stop() }
        let lock = NSLock()
        nonisolated(unsafe) var told: [HubProgress] = []
        _ = try await place.hub(server).folder(of: "org/tiny") { progress in lock.withLock { told.append(progress) } }
        let last = try #require(told.last)
        #expect(last.bytes == last.total && last.filesDone == 3 && last.files == 3)
        #expect(zip(told, told.dropFirst()).allSatisfy { $0.bytes <= $1.bytes })
    }
}

@Suite struct SnapshotFilesTests {
    private func chosen(_ files: [String]) throws -> [String] { try SnapshotFiles.chosen(from: files, wanted: nil, at: "test").sorted() }

    @Test func oneKindOfWeights() throws {
        #expect(try chosen(["config.json", "model.safetensors", "pytorch_model.bin"]) == ["config.json", "model.safetensors"])
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
        #expect(try chosen(["config.json", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"] + shards) == ["config.json"] + shards)
        #expect(try chosen(["config.json", "merges.txt", "pytorch_model.bin", "optimizer.pt"]) == ["config.json", "merges.txt", "pytorch_model.bin"])
        #expect(try chosen(["config.json", "model_final.pth", "checkpoints/1_tokens.pth"]) == ["config.json", "model_final.pth"])
        #expect(throws: LensError.self) { try chosen(["config.json", "a.gguf", "b.gguf"]) }
        #expect(throws: LensError.self) { try chosen(["README.md"]) }
        #expect(throws: LensError.self) { try chosen([]) }
    }
}

@Suite struct DigestTests {
    private func hex(_ kind: Digest.Kind, _ bytes: [UInt8], piece: Int) -> String {
        var digest = Digest(kind)
        for start in stride(from: 0, to: bytes.count, by: piece) { digest.update(Array(bytes[start..<min(start + piece, bytes.count)])) }
        return digest.hex()
    }

    /// FIPS 180-4's examples, and Python's hashlib for the rest.
    @Test(arguments: [1, 7, 64, 1000])
    func knownHashes(_ piece: Int) {
        #expect(hex(.sha256, [], piece: piece) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(hex(.sha256, Array("abc".utf8), piece: piece) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        #expect(hex(.sha1, Array("abc".utf8), piece: piece) == "a9993e364706816aba3e25717850c26c9cd0d89d")
        let long = Array("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)
        #expect(hex(.sha256, long, piece: piece) == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")
        #expect(hex(.sha1, long, piece: piece) == "84983e441c3bd26ebaae4aa1f95129e5e54670f1")
        #expect(hex(.sha1, Array("blob 6\0hello\n".utf8), piece: piece) == "ce013625030ba8dba906f756967f9e9ca394464a")
    }
}
