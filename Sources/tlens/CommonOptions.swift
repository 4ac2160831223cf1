// What every command takes, and loading the model they name.

import ArgumentParser
import TransformerLens

/// How a command speaks.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print one JSON document on stdout, and nothing else.")
    var json = false

    @Flag(help: "No progress on stderr.")
    var quiet = false
}

extension ActivationFormat: ExpressibleByArgument {}

/// Options of every command that loads a model.
struct ModelOptions: ParsableArguments {
    @Argument(help: "A folder, a .gguf file, a file of weights, a registered name, or a hub id.")
    var model: String

    @Option(help: ArgumentHelp("Threads to compute with; results do not depend on it. (default: all cores)", valueName: "n"))
    var threads: Int?

    @Option(help: ArgumentHelp("How weights are kept: f32, bf16, f16, q8_0 or q4_0. (default: as in the file)", valueName: "type"))
    var dtype: String?

    @Option(help: ArgumentHelp("Activations in products with quantised weights: f32, or int8, which rounds them to eight bits and is faster. (default: f32)",
                               valueName: "type"))
    var activations = ActivationFormat.float32

    @Option(help: ArgumentHelp("How weights are rewritten at load: folded and centred as TransformerLens does (default), or none.", valueName: "how"))
    var processing = "default"

    @Option(help: ArgumentHelp("Load the first n layers only.", valueName: "n"))
    var firstNLayers: Int?

    @Option(help: ArgumentHelp("Another context: shorter, or longer where positions are computed.", valueName: "n"))
    var nCtx: Int?

    @Option(help: ArgumentHelp("The config.json of a model that is one file (default: the one beside it).", valueName: "file"))
    var config: String?

    @Option(help: ArgumentHelp("A folder with a LoRA adapter (PEFT) to merge into the weights.", valueName: "dir"))
    var adapter: String?

    @Option(help: ArgumentHelp("A checkpoint of the model's training by its step (or tokens), or the n-th as #n (#-1: the last).", valueName: "step"))
    var checkpoint: String?

    /// The checkpoint asked for.
    private var trainingCheckpoint: TrainingCheckpoint? {
        guard let checkpoint else { return nil }
        return checkpoint.hasPrefix("#") ? Int(checkpoint.dropFirst()).map { .index($0) } : Int(checkpoint).map { .value($0) }
    }

    func validate() throws {
        if let checkpoint, trainingCheckpoint == nil { throw ValidationError("--checkpoint takes a step or #n, not '\(checkpoint)'") }
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads takes a number from 1 to 1024, not \(threads)") }
        if let dtype, WeightFormat(rawValue: dtype)?.packsNumbers != true {
            throw ValidationError("--dtype takes \(WeightFormat.loadable.map(\.rawValue).joined(separator: ", ")), not '\(dtype)'")
        }
        if let firstNLayers, firstNLayers < 0 { throw ValidationError("--first-n-layers takes a number from 0, not \(firstNLayers)") }
        if let nCtx, nCtx < 1 { throw ValidationError("--n-ctx takes a number from 1, not \(nCtx)") }
        guard WeightProcessing(name: processing) != nil else {
            throw ValidationError("--processing takes default or none, not '\(processing)'")
        }
    }

    /// Loads the model, having set the threads.
    func load(_ output: OutputOptions) throws -> HookedTransformer {
        if let threads { Kernels.threads = threads }
        let progress = Progress(output)
        progress.show("loading \(model) …")
        defer { progress.clear() }
        let (path, options) = try place(progress)
        // For a model of the hub the tokenizer's repository may be asked too.
        let tokenizer = try fileExists(model) ? nil : Tokenizer.named(in: path, options, Hub())
        return try HookedTransformer(folder: path, processing: WeightProcessing(name: processing) ?? .default, options: options, tokenizer: tokenizer)
    }

    /// What of the model to load, and how.
    var loadOptions: LoadOptions {
        LoadOptions(firstNLayers: firstNLayers, nCtx: nCtx, config: config, adapter: adapter, dtype: dtype.flatMap(WeightFormat.init),
                    activations: activations)
    }

    /// The model's folder or file, downloaded if need be, and how to load it.
    func place(_ progress: Progress) throws -> (path: String, options: LoadOptions) {
        var options = loadOptions
        guard let trainingCheckpoint else { return (try localFolder(of: model, progress), options) }
        let place = try localCheckpoint(trainingCheckpoint, of: model, progress)
        options.config = options.config ?? place.config
        return (place.path, options)
    }
}

/// Whether text gets a beginning-of-sequence token.
struct BOSOptions: ParsableArguments {
    @Flag(name: .customLong("prepend-bos"), help: "Begin text with the beginning-of-sequence token.")
    var prepend = false

    @Flag(name: .customLong("no-bos"), help: "Begin text without it. (default: the family's rule)")
    var none = false

    func validate() throws {
        if prepend && none { throw ValidationError("--prepend-bos and --no-bos exclude each other") }
    }

    /// nil: the family's rule.
    var choice: Bool? { prepend ? true : none ? false : nil }
}
