// `tlens train`: from a configuration to a folder that loads, killed and started again, refusing what cannot be.

import Foundation
import LensFiles
import Testing
#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@Suite struct TrainCommandTests {
    private static let config: JSON = ["d_model": 12, "d_head": 6, "n_heads": 2, "n_layers": 1, "n_ctx": 16, "d_mlp": 20, "act_fn": "relu",
                                       "normalization_type": "LN", "init_mode": "xavier_normal", "seed": 3]

    private static func arguments(_ folder: TestFolder, _ out: String, steps: Int = 60) -> [String] {
        ["train", "--config", folder("config.json"), "--task", "brackets", "--task-option", "length=6", "--steps", "\(steps)", "--batch-size", "8", "--lr", "0.01",
         "--save-every", "7", "--eval-every", "20", "--out", folder(out)]
    }

    private static func folder() throws -> TestFolder {
        let folder = try TestFolder()
        try folder.write("config.json", config)
        return folder
    }

    @Test func trainsAModelThatLoads() async throws {
        let folder = try Self.folder(), result = try await tlens(Self.arguments(folder, "out") + ["--json"])
        #expect(result.code == 0, "\(result.err)")
        #expect(result.err.isEmpty, "no progress where there is no terminal")
        let report = try JSON.parse(result.out)
        #expect(report["steps"]?.intValue == 60 && report["resumed_at"]?.intValue == 0 && report["eval_accuracy"]?.doubleValue != nil)
        #expect(try folder.read("out/metrics.jsonl").split(separator: "\n").count == 60)
        let run = try await tlens(["run", folder("out"), "--tokens", "2,3,4,5", "--json"])
        #expect(run.code == 0, "\(run.err)")
        let again = try await tlens(Self.arguments(folder, "out"))
        #expect(again.code == 0 && again.err.contains("going on after step 60 of 60"))
    }

    /// Killed at moments of its own choosing and started again until it ends: the same files, to the bit.
    @Test func killedAtAnyMomentItEndsAlike() async throws {
        let folder = try Self.folder(), whole = try await tlens(Self.arguments(folder, "whole"))
        #expect(whole.code == 0, "\(whole.err)")
        var kills = 0
        for milliseconds in [60, 130, 35, 210, 90, 300, 150] {
            if try await kill(after: milliseconds, Self.arguments(folder, "killed")) { kills += 1 }
        }
        let last = try await tlens(Self.arguments(folder, "killed"))
        #expect(last.code == 0, "\(last.err)")
        #expect(kills > 0, "at least one was killed")
        for name in ["model.safetensors", "config.json", "metrics.jsonl", "checkpoints/step-000000060.safetensors"] {
            #expect(try folder.bytes("killed/\(name)") == folder.bytes("whole/\(name)"), "\(name)")
        }
    }

    /// Runs, and kills with SIGKILL after a while; false if it had ended by itself.
    private func kill(after milliseconds: Int, _ arguments: [String]) async throws -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: productsFolder + "/tlens")
        process.arguments = arguments
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        // Not Task.sleep: other tests' work would lengthen it.
        usleep(UInt32(1000 * milliseconds))
        let wasRunning = process.isRunning
        if wasRunning { Glibc.kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        return wasRunning
    }

    @Test func anInterruptLeavesACheckpoint() async throws {
        let folder = try Self.folder(), process = Process()
        process.executableURL = URL(fileURLWithPath: productsFolder + "/tlens")
        process.arguments = Self.arguments(folder, "out", steps: 1_000_000)
        process.standardOutput = FileHandle.nullDevice
        let errors = Pipe()
        process.standardError = errors
        try process.run()
        // Until it has begun.
        for _ in 0..<600 where (try? folder.read("out/metrics.jsonl").isEmpty) ?? true { try await Task.sleep(for: .milliseconds(50)) }
        Glibc.kill(process.processIdentifier, SIGINT)
        for _ in 0..<600 where process.isRunning { try await Task.sleep(for: .milliseconds(50)) }
        if process.isRunning { Glibc.kill(process.processIdentifier, SIGKILL) }
        process.waitUntilExit()
        #expect(process.terminationReason == .exit && process.terminationStatus == 1)
        let said = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        #expect(said.contains("stopped after step") && said.contains("goes on from there"), "\(said)")
        let steps = try folder.read("out/metrics.jsonl").split(separator: "\n").count
        let newest = try FileManager.default.contentsOfDirectory(atPath: folder("out/checkpoints")).sorted().last
        #expect(newest?.contains("\(steps).safetensors") == true, "\(newest ?? "none") has all \(steps) steps")
    }

    @Test func aDamagedCheckpointIsNamed() async throws {
        let folder = try Self.folder()
        #expect(try await tlens(Self.arguments(folder, "out", steps: 20)).code == 0)
        let newest = "out/checkpoints/step-000000020.safetensors"
        try folder.write(newest, Array(folder.bytes(newest).dropLast(50)))
        let result = try await tlens(Self.arguments(folder, "out", steps: 20))
        #expect(result.code == 0 && result.err.contains("not used") && result.err.contains("step-000000020") && result.err.contains("after step 14"), "\(result.err)")
    }

    @Test func trainsOnTextWithATokenizer() async throws {
        let folder = try Self.folder(), model = try Models.gpt2
        try folder.write("text.txt", String(repeating: "the cat sat on the mat and the dog sat on the log\n", count: 40))
        let common = ["--data", folder("text.txt"), "--length", "12", "--steps", "3", "--batch-size", "4"]
        let new = try await tlens(["train", "--config", folder("config.json"), "--tokenizer", model, "--out", folder("new")] + common)
        #expect(new.code == 0, "\(new.err)")
        let run = try await tlens(["run", folder("new"), "--prompt", "the cat", "--json"])
        #expect(run.code == 0, "\(run.err)")
        let tuned = try await tlens(["train", "--from", model, "--freeze", "*embed*", "--out", folder("tuned")] + common)
        #expect(tuned.code == 0, "\(tuned.err)")
    }

    @Test func wordsOfATaskAreItsTokenizer() async throws {
        let folder = try Self.folder()
        var config = Self.config
        if case .object(var fields) = config {
            fields["n_ctx"] = 24
            config = .object(fields)
        }
        try folder.write("wide.json", config)
        let result = try await tlens(["train", "--config", folder("wide.json"), "--task", "ioi", "--steps", "2", "--batch-size", "4", "--out", folder("out")])
        #expect(result.code == 0, "\(result.err)")
        let tokens = try await tlens(["tokenize", folder("out"), "When Mary and John went", "--json"])
        #expect(tokens.code == 0 && tokens.out.contains("Mary") && !tokens.out.contains("unknown"), "\(tokens.out)\(tokens.err)")
    }

    @Test(arguments: [
        (["--config", "CONFIG", "--task", "addd", "--out", "OUT"], 1, "did you mean add"),
        (["--config", "CONFIG", "--task", "add", "--out", "OUT", "--freeze", "nothing"], 1, "no parameter of this name"),
        (["--config", "CONFIG", "--task", "repeated", "--task-option", "length=99", "--out", "OUT"], 1, "n_ctx"),
        (["--config", "CONFIG", "--task", "repeated", "--epochs", "2", "--out", "OUT"], 1, "epochs of data without end"),
        (["--config", "CONFIG", "--task", "repeated", "--task-option", "length=4", "--batch-size", "all", "--out", "OUT"], 1, "a batch size"),
        (["--config", "CONFIG", "--task", "add", "--optimizer", "Lion", "--out", "OUT"], 1, "Adam, AdamW or SGD"),
        (["--config", "CONFIG", "--data", "CONFIG", "--out", "OUT"], 1, "not a list of tokens"),
        (["--config", "nowhere.json", "--task", "add", "--out", "OUT"], 1, "nowhere.json"),
        (["--config", "CONFIG", "--out", "OUT"], 64, "--data"),
        (["--config", "CONFIG", "--from", "x", "--task", "add", "--out", "OUT"], 64, "--from"),
        (["--config", "CONFIG", "--task", "add", "--steps", "0", "--out", "OUT"], 64, "--steps"),
        (["--config", "CONFIG", "--task", "add", "--batch-size", "some", "--out", "OUT"], 64, "--batch-size"),
    ] as [([String], Int32, String)])
    func refusals(arguments: [String], code: Int32, message: String) async throws {
        let folder = try Self.folder()
        let result = try await tlens(["train"] + arguments.map { $0 == "CONFIG" ? folder("config.json") : $0 == "OUT" ? folder("out") : $0 })
        #expect(result.code == code && result.err.contains(message), "\(result.code ?? -1): \(result.err)")
        #expect(code == 64 || result.errorLines.count == 1)
    }
}
