// Which of a repository's files make a model: its configuration, its tokenizer, and one copy of its weights.

import LensFiles
import LensHooks

enum SnapshotFiles {
    /// Small files that say how to read the rest.
    static let described = ["*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja"]
    /// Weights, the best first; the first kind that is there is taken.
    private static let weights: [[String]] = [
        ["model.safetensors"], ["model.safetensors.index.json", "model-*-of-*.safetensors"], ["*.safetensors"],
        ["pytorch_model.bin"], ["pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin"],
        ["model_final.pth", "final.pth"], ["*.pth"], ["*.pt"], ["*.gguf"],
    ]
    /// What looks like weights and is not this model's.
    private static let others = ["adapter_model.*", "consolidated*", "optimizer*", "training_args.bin", "*.onnx", "rng_state*", "scheduler*"]

    /// The files to download out of those there are.
    /// - Throws: `LensError(.file)` if none of the weights' kinds is there, or several files that are each a model.
    static func chosen(from all: [String], wanted: [String]?, at location: String) throws -> [String] {
        if let wanted {
            let found = all.filter { file in wanted.contains { matches($0, file) } }
            guard !found.isEmpty else {
                throw LensError(.file, "no such file in the repository", at: location, expected: wanted.joined(separator: ", "),
                                found: all.prefix(20).joined(separator: ", "))
            }
            return found
        }
        let usable = all.filter { file in !others.contains { matches($0, file) } }
        let descriptions = usable.filter { file in described.contains { matches($0, file) } && !file.hasSuffix(".index.json") }
        for kind in weights {
            let found = usable.filter { file in kind.contains { matches($0, file) } }
            // An index without its shards, or shards without their index, are no model.
            let isWhole = kind.count == 1 || !kind[0].hasSuffix(".index.json") || (found.contains(kind[0]) && found.count > 1)
            guard isWhole, !found.isEmpty else { continue }
            if kind == ["*.gguf"], found.count > 1 {
                throw LensError(.file, "several models in one repository", at: location, found: found.prefix(20).joined(separator: ", "),
                                advice: "download one of them and name its file")
            }
            return descriptions + found
        }
        throw LensError(.file, "no weights in the repository", at: location, expected: "safetensors, PyTorch or GGUF files",
                        found: all.prefix(20).joined(separator: ", "))
    }

    /// The step or number of tokens that a checkpoint's file is named by: `checkpoints/NAME_{value}.pth`.
    static func checkpointValue(_ file: String) -> Int? {
        guard file.hasPrefix("checkpoints/"), file.hasSuffix(".pth"), let mark = file.lastIndex(of: "_") else { return nil }
        return Int(file[file.index(after: mark)...].dropLast(".pth".count))
    }

    /// Globs whose `*` stays within a folder.
    private static func matches(_ pattern: String, _ file: String) -> Bool {
        pattern.count { $0 == "/" } == file.count { $0 == "/" } && globMatches(pattern, file)
    }
}
