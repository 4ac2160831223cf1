// Law 6 in this process: whatever is in a model's files, loading gives a model that runs or throws a LensError of one line;
// it does not trap, hang or take memory the files are not worth.

import LensFiles
import Testing
import TinyModels
import TransformerLens
#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

@Suite(.serialized) struct HostileFileTests {
    /// Models to damage: name, the files they are made of.
    enum Victim: String, CaseIterable, Sendable {
        case gpt2, llama, sharded, native

        /// A fresh copy.
        func copy() throws -> TestFolder {
            let folder = try TestFolder()
            switch self {
            case .gpt2:
                var tiny = TinyGPT2()
                (tiny.layers, tiny.heads, tiny.headWidth, tiny.context) = (2, 3, 6, 16)
                try tiny.write(to: folder.path)
            case .llama: try Self.copy(["config.json": "config.json", "model.safetensors": "model.safetensors"], of: "llama-rope-llama3", folder)
            case .sharded:
                let names = ["config.json", "model.safetensors.index.json"] + (1...4).map { "model-0000\($0)-of-00004.safetensors" }
                try Self.copy(Dictionary(uniqueKeysWithValues: names.map { ($0, $0) }), of: "llama-sharded", folder)
            case .native: try Self.copy(["tl_config.json": "config.json", "state_dict.safetensors": "model.safetensors"], of: "gpt2-tiny", folder)
            }
            return folder
        }

        private static func copy(_ files: [String: String], of golden: String, _ folder: TestFolder) throws {
            for (from, to) in files { try folder.write(to, DataFile(path: "\(Models.goldens)/\(golden)/\(from)").readAll(limit: 1 << 24)) }
        }
    }

    /// Loads the folder and, if it loads, runs it. - Returns: the error.
    private func use(_ folder: TestFolder, _ what: @autoclosure () -> String, at place: SourceLocation = #_sourceLocation) -> LensError? {
        do {
            let model = try HookedTransformer(folder: folder.path)
            _ = try model.run([[1, 2, 3], [4]], Transformer.Options(cache: .all, returnType: .both))
            if model.tokenizer != nil { _ = try model.generate("Hello Eiffel é", maxNewTokens: 2, sampling: .greedy) }
            return nil
        } catch let error as LensError {
            #expect(!error.what.isEmpty && !error.description.contains("\n"), "\(what())", sourceLocation: place)
            return error
        } catch {
            Issue.record("\(what()): not a LensError: \(error)", sourceLocation: place)
            return nil
        }
    }

    /// Kilobytes of files are not worth a gigabyte. (Other suites run in this process meanwhile, so it is no less.)
    private let mostMemory = 1 << 30

    /// The most memory the process ever held, in bytes.
    private func peakMemory() -> Int {
        var usage = rusage()
        getrusage(.init(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss * 1_024
    }

    @Test(arguments: Victim.allCases) func wholeOnesLoad(_ victim: Victim) throws {
        let error = use(try victim.copy(), victim.rawValue)
        #expect(error == nil)
    }

    /// Every key of every kind of configuration, away or replaced.
    @Test(.timeLimit(.minutes(5)), arguments: Victim.allCases) func configurations(_ victim: Victim) throws {
        let folder = try victim.copy(), before = peakMemory()
        let config = try JSON.parse(file: folder("config.json"), allowNonFinite: true)
        var refused = 0
        let versions = hostileVersions(of: config)
        for (change, json) in versions {
            try folder.write("config.json", try json.utf8(nonFinite: .python))
            if use(folder, change) != nil { refused += 1 }
        }
        #expect(versions.count > 400 && refused > versions.count / 4 && refused < versions.count, "\(refused) of \(versions.count) refused")
        #expect(peakMemory() - before < mostMemory, "more memory than the files are worth")
    }

    /// Bytes of every file, damaged.
    @Test(.timeLimit(.minutes(5)), arguments: Victim.allCases) func bytes(_ victim: Victim) throws {
        let folder = try victim.copy(), before = peakMemory()
        var random = Random(state: 42)
        for name in try folder.contents {
            let whole = try folder.bytes(name)
            for round in 0..<120 {
                try folder.write(name, damaged(whole, structured: name.hasSuffix(".safetensors") ? 2_000 : whole.count, &random))
                _ = use(folder, "\(name), round \(round)")
            }
            try folder.write(name, whole)
        }
        #expect(peakMemory() - before < mostMemory, "more memory than the files are worth")
    }

    /// Something else in each file's place.
    @Test(arguments: Victim.allCases) func otherThings(_ victim: Victim) throws {
        let folder = try victim.copy()
        for name in try folder.contents {
            let whole = try folder.bytes(name)
            for text in ["", " ", "{}", "[]", "null", "\u{FEFF}{}", String(repeating: "[", count: 100_000), String(repeating: "{\"a\":", count: 100_000), "{\"a\":1,\"a\":2}"] {
                try folder.write(name, text)
                // An empty object is a tokenizer's configuration like any other.
                if name != "tokenizer_config.json" || text != "{}" { #expect(use(folder, name) != nil, "\(name): \(text.prefix(20))") }
            }
            try folder.remove(name)
            mkdir(folder(name), 0o777)
            #expect(use(folder, name) != nil, "a folder in place of \(name)")
            rmdir(folder(name))
            mkfifo(folder(name), 0o666)
            #expect(use(folder, name) != nil, "a pipe in place of \(name)")
            try folder.remove(name)
            symlink(name, folder(name))
            #expect(use(folder, name) != nil || name.hasPrefix("tokenizer"), "a link to itself in place of \(name)")
            try folder.remove(name)
            try folder.write(name, whole)
        }
    }

    /// A saved run that is read back.
    @Test(arguments: ["run.safetensors", "run.npz"]) func savedRuns(_ name: String) throws {
        let folder = try Victim.gpt2.copy()
        let (logits, cache) = try HookedTransformer(folder: folder.path).runWithCache([[1, 2]], namesFilter: ["z", "ln_final.hook_scale"])
        try saveRun(tokens: nil, logits: logits, cache: cache, to: folder(name))
        #expect(try ActivationCache(contentsOf: folder(name)).count == cache.count)
        let whole = try folder.bytes(name)
        var random = Random(state: 3), refused = 0
        for round in 0..<300 {
            try folder.write(name, damaged(whole, structured: 600, &random))
            do { _ = try ActivationCache(contentsOf: folder(name)) } catch is LensError { refused += 1 } catch { Issue.record("round \(round): \(error)") }
        }
        #expect(refused > 100)
    }

    /// A file that another program cuts short while it is open.
    @Test func cutShortWhileOpen() throws {
        let folder = try Victim.native.copy()
        let file = try SafetensorsFile(path: folder("model.safetensors"))
        let config = try ModelFolder(path: folder.path).config
        truncate(folder("model.safetensors"), 20_000)
        let error = #expect(throws: LensError.self) { try Transformer(config: config, savedParameters: file) }
        #expect(error?.kind == .file && error?.what.contains("cut short") == true)
    }

    /// Configurations that fit no checkpoint are refused at once, whatever size they claim.
    @Test(.timeLimit(.minutes(1)), arguments: ["n_layer", "n_embd", "n_head", "n_positions", "n_inner", "vocab_size"])
    func hugeSizes(_ key: String) throws {
        let folder = try Victim.gpt2.copy(), before = peakMemory()
        var config = try JSON.parse(file: folder("config.json")).asObject(at: "config")
        for size in [65_536, 1_000_000, 1_000_000_000, 1 << 30, 1 << 31, 1 << 61, Int.max] {
            config[key] = .int(size)
            try folder.write("config.json", JSON.object(config))
            let error = use(folder, "\(key) \(size)")
            #expect(error?.kind == .config || error?.kind == .weights, "\(key) \(size): \(error?.description ?? "loaded")")
        }
        #expect(peakMemory() - before < mostMemory)
    }
}
