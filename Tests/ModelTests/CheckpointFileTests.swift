// Checkpoints that are not safetensors: what torch.save wrote of a TransformerLens model, NumPy's files, and Hugging Face
// folders of `.bin` files.

import Foundation
import LensTestSupport
import Testing
import TransformerLens

@Suite struct CheckpointFileTests {
    private static let goldens = TestFolders.goldens
    private static let tokens = [[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]]

    private func copy(_ from: String, _ to: String) throws { try FileManager.default.copyItem(atPath: from, toPath: to) }

    /// `torch.save(model.state_dict(), "weights.pt")` and the configuration's fields.
    @Test func transformerLensCheckpoint() throws {
        let folder = Self.goldens + "/native-ln", golden = try Golden("native-ln"), base = try golden.run("base")
        let model = try HookedTransformer(folder: folder + "/weights.pt", options: LoadOptions(config: folder + "/tl_config.json"))
        let output = try model.model.run(.tokens(#require(base.tokens)), .init(cache: .all))
        expectClose(output.logits, try golden.tensor(base, "logits"), "weights.pt")
        let reference = try Models.named("native-ln")
        for name in reference.parameters.names { expectSameBits(try model.model.parameters[name], try reference.parameters[name], name) }
        // The configuration beside it, under either name; and the folder itself.
        expectSameBits(try HookedTransformer(folder: folder + "/weights.pt").logits(Self.tokens), try model.logits(Self.tokens), "beside it")
        expectSameBits(try HookedTransformer(folder: folder).logits(Self.tokens), try model.logits(Self.tokens), "the folder")
        try withTemporaryFolder { other in
            try copy(folder + "/weights.pt", other + "/model.pth")
            expectError(.file, "no configuration", "--config") { try HookedTransformer(folder: other + "/model.pth") }
            try copy(folder + "/tl_config.json", other + "/config.json")
            expectSameBits(try HookedTransformer(folder: other).logits(Self.tokens), try model.logits(Self.tokens), "model.pth")
        }
    }

    @Test func numPyCheckpoint() throws {
        let folder = Self.goldens + "/native-ln", source = try SafetensorsFile(path: folder + "/state_dict.safetensors")
        try withTemporaryFolder { other in
            let contents = try source.names.map { name in
                let entry = try source.requireEntry(name)
                return try TensorContent(name, entry.dtype, shape: entry.shape, bytes: source.bytes(of: name))
            }
            try NumPyWriter.write(npz: contents, to: other + "/weights.npz")
            try copy(folder + "/tl_config.json", other + "/config.json")
            let model = try HookedTransformer(folder: other + "/weights.npz")
            expectSameBits(try model.logits(Self.tokens), try HookedTransformer(folder: folder).logits(Self.tokens), "weights.npz")
        }
    }

    /// A part of a checkpoint, and one whose tensors do not fit.
    @Test func partsAndMisfits() throws {
        let folder = Self.goldens + "/native-ln", path = folder + "/weights.pt"
        let cut = try HookedTransformer(folder: path, options: LoadOptions(firstNLayers: 1, nCtx: 5))
        #expect(cut.config.nLayers == 1 && cut.config.nCtx == 5)
        expectError(.weights, "shape") { try HookedTransformer(folder: path, options: LoadOptions(config: Self.goldens + "/gpt2-tiny/tl_config.json")) }
        expectError(.file) { try HookedTransformer(folder: folder + "/no.pt") }
        expectError(.file) { try HookedTransformer(folder: path, options: LoadOptions(config: folder + "/no.json")) }
    }

    /// The Hugging Face folder with its weights as torch.save wrote them, whole and in two files.
    @Test func binFolders() throws {
        let golden = try HookedTransformer(folder: Self.goldens + "/qwen2-tied").logits(Self.tokens)
        for names in [["pytorch_model.bin"], ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]] {
            try withTemporaryFolder { folder in
                try copy(Self.goldens + "/qwen2-tied/config.json", folder + "/config.json")
                for name in names { try copy("\(Self.goldens)/bin/\(name)", "\(folder)/\(name)") }
                expectSameBits(try HookedTransformer(folder: folder).logits(Self.tokens), golden, names[0])
            }
        }
    }
}
