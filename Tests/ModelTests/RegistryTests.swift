// The registry against TransformerLens 3.9.0's own lists of names (Goldens/registry.json).

import LensTestSupport
import Testing
import TransformerLens

@Suite struct RegistryTests {
    /// Models of sound, which this package does not run.
    static let audio: Set<String> = ["facebook/hubert-base-ls960", "facebook/wav2vec2-base", "facebook/wav2vec2-large"]

    @Test func everyNameOfTransformerLensIsKnown() throws {
        let golden = try JSON.parse(file: TestFolders.goldens + "/registry.json", limit: 1 << 20)
        let names = try (golden["names"] ?? .null).asArray(at: "names").compactMap(\.stringValue)
        #expect(names.count > 240)
        for name in names where !Self.audio.contains(name) {
            let model = try #require(RegisteredModel.named(name), "\(name)")
            for alias in golden["aliases"]?[name]?.arrayValue?.compactMap(\.stringValue) ?? [] {
                #expect(RegisteredModel.named(alias) == model, "\(alias)")
            }
        }
    }

    @Test func namesAreOnes() {
        let names = RegisteredModel.all.flatMap { Set(($0.aliases + [$0.hubID]).map { $0.lowercased() }) }
        #expect(Set(names).count == names.count)
    }

    @Test func everyFamilyIsOneWeHave() {
        let families = Set(Architecture.all.map(\.family)).union(["hooked_transformer"])
        for model in RegisteredModel.all { #expect(families.contains(model.family), "\(model.hubID): \(model.family)") }
    }

    @Test func checkpointsAreTransformerLens() throws {
        let pythia = try #require(RegisteredModel.named("pythia-70m")), stanford = try #require(RegisteredModel.named("stanford-gpt2-small-a"))
        guard case .revisions("step", let steps)? = pythia.checkpoints, case .revisions("checkpoint-", let others)? = stanford.checkpoints else {
            Issue.record("no revisions")
            return
        }
        #expect(steps.count == 154 && steps.prefix(12) == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000] && steps.last == 143_000)
        #expect(others.count == 609 && others.prefix(11) == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100] && others.last == 400_000)
        #expect(try pythia.value(of: .index(-1), among: steps) == 143_000)
        #expect(try pythia.value(of: .index(11), among: steps) == 1000)
        #expect(try pythia.value(of: .value(512), among: steps) == 512)
        #expect(throws: LensError.self) { try pythia.value(of: .value(513), among: steps) }
        #expect(throws: LensError.self) { try pythia.value(of: .index(154), among: steps) }
        #expect(throws: LensError.self) { try pythia.value(of: .index(.min), among: steps) }
        #expect(RegisteredModel.named("gpt2-small")?.checkpoints == nil)
        #expect(RegisteredModel.named("solu-1l")?.checkpoints == .files)
    }
}
