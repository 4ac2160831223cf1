// The options of `tlens train` that say what to train on and how, and what they come to.

import ArgumentParser
import TransformerLens

/// What a model is trained on.
struct TrainingDataOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A text file, or a file of tokens (.json: [1, 2, …] or [[…], …]; .npy).", valueName: "file"))
    var data: String?

    @Option(help: ArgumentHelp("A built-in task in place of a file: \(TrainingTask.names.joined(separator: ", ")).", valueName: "name"))
    var task: String?

    @Option(name: .customLong("task-option"), help: ArgumentHelp("An option of the task; repeatable. Arithmetic: modulus=113, train_fraction=0.3; repeated: vocabulary=64, length=16; brackets: length=16; ioi: all=false; all of these: held_out=256.", valueName: "name=value"))
    var taskOptions: [String] = []

    @Option(help: ArgumentHelp("For text: a tokenizer.json, or a folder with a tokenizer. It is copied beside the model. (default: that of --from)", valueName: "path"))
    var tokenizer: String?

    @Option(help: ArgumentHelp("For files: tokens in a row. (default: the model's n_ctx)", valueName: "n"))
    var length: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("For text: the line that stands between documents. (default: the file is one document)", valueName: "line"))
    var separator: String?

    @Flag(name: .customLong("no-bos"), help: "For text: rows do not begin with the beginning-of-sequence token.")
    var noBOS = false

    @Option(help: ArgumentHelp("For files: the share of rows held out to measure on.", valueName: "share"))
    var heldOut = 0.05

    func validate() throws {
        guard (data == nil) != (task == nil) else { throw ValidationError("give --data with a file, or --task with the name of a task") }
        if task == nil, !taskOptions.isEmpty { throw ValidationError("--task-option goes with --task") }
        if let length, length < 2 { throw ValidationError("--length takes a number from 2, not \(length)") }
        if !(0..<1).contains(heldOut) { throw ValidationError("--held-out takes a number from 0 to below 1, not \(heldOut)") }
        for option in taskOptions where !option.contains("=") { throw ValidationError("--task-option takes name=value, not '\(option)'") }
        if task != nil, tokenizer != nil || length != nil || separator != nil || noBOS {
            throw ValidationError("--tokenizer, --length, --separator and --no-bos go with --data")
        }
    }

    /// - Parameters:
    ///   - context: of the model. - vocabulary: of the model, where it is known.
    ///   - folder: of the model, whose tokenizer it is unless another is given.
    func load(context: Int, vocabulary: Int?, folder: String? = nil, seed: UInt64) throws -> LoadedTrainingData {
        if let task {
            let pairs = taskOptions.map { option in
                let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
            }
            let loaded = try TrainingTask(task, options: Dictionary(pairs, uniquingKeysWith: { $1 }), seed: seed)
            return LoadedTrainingData(data: loaded.data, tokenizer: try loaded.words.map(WordTokenizer.init))
        }
        let path = data ?? "", length = length ?? context
        let tokenizer = try self.tokenizer ?? folder.flatMap { try Tokenizer.beside($0) == nil ? nil : $0 }
        if path.hasSuffix(".json") || path.hasSuffix(".npy") {
            let data = try TokenRowsData(tokens: path, vocabularySize: vocabulary, length: length, heldOut: heldOut, seed: seed)
            return LoadedTrainingData(data: data, tokenizer: try tokenizer.map(CopiedTokenizer.init))
        }
        guard let tokenizer else {
            throw LensError(.usage, "text needs a tokenizer", at: path, expected: "--tokenizer with a tokenizer.json or a folder", advice: "or give tokens as .json or .npy")
        }
        let copied = try CopiedTokenizer(tokenizer), words = copied.tokenizer
        let bos = noBOS ? nil : words.bosID
        let data = try TokenRowsData(text: path, tokenizer: words, vocabularySize: words.vocabularySize, length: length, separator: separator,
                                     bos: bos, eos: words.eosID, heldOut: heldOut, seed: seed)
        return LoadedTrainingData(data: data, tokenizer: copied)
    }
}

/// Data, and the tokenizer that goes with the model.
struct LoadedTrainingData {
    let data: any TrainingData
    let tokenizer: (any SavableTokenizer)?
}

/// A tokenizer that can be put beside a model.
protocol SavableTokenizer {
    func save(to folder: String) throws
}

/// Files of a tokenizer there is already.
struct CopiedTokenizer: SavableTokenizer {
    let tokenizer: Tokenizer
    private let files: [(name: String, path: String)]

    init(_ path: String) throws {
        guard isFolder(path) else {
            tokenizer = try Tokenizer(file: path)
            files = [("tokenizer.json", path)]
            return
        }
        tokenizer = try Tokenizer(folder: path)
        let names = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model"]
        files = names.map { ($0, "\(path)/\($0)") }.filter { fileExists($0.1) }
    }

    func save(to folder: String) throws {
        for (name, path) in files {
            let source = try DataFile(path: path), writer = try AtomicFileWriter(path: "\(folder)/\(name)")
            try writer.write(try source.read(0..<source.size))
            try writer.commit()
        }
    }
}

/// Words apart by spaces: the tokenizer of a task whose tokens are words. The first word begins and ends texts, the second
/// stands for unknown ones.
struct WordTokenizer: SavableTokenizer {
    private let words: [String]

    init(_ words: [String]) throws {
        guard words.count >= 2 else { throw LensError(.usage, "a vocabulary without words") }
        self.words = words
    }

    func save(to folder: String) throws {
        let special: [JSON] = (0..<2).map { ["id": .int($0), "content": .string(words[$0]), "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true] }
        let vocabulary = JSONObject(words.enumerated().map { ($1, JSON.int($0)) })
        let tokenizer: JSON = ["version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(special), "normalizer": nil,
                               "pre_tokenizer": ["type": "WhitespaceSplit"], "post_processor": nil, "decoder": nil,
                               "model": ["type": "WordLevel", "vocab": .object(vocabulary), "unk_token": .string(words[1])]]
        let config: JSON = ["tokenizer_class": "PreTrainedTokenizerFast", "bos_token": .string(words[0]), "eos_token": .string(words[0]), "unk_token": .string(words[1])]
        for (name, json) in [("tokenizer.json", tokenizer), ("tokenizer_config.json", config)] {
            let writer = try AtomicFileWriter(path: "\(folder)/\(name)")
            try writer.write(json.utf8(pretty: true))
            try writer.commit()
        }
    }
}

/// How a model is trained; what is not given is as in `--settings`, else TransformerLens' defaults.
struct TrainingHowOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A JSON file of settings, with HookedTransformerTrainConfig's names (lr, weight_decay, optimizer_name, batch_size, num_epochs, max_steps, warmup_steps, max_grad_norm) and betas, eps, momentum, nesterov, lr_schedule, lr_floor, groups, frozen, accumulate, eval_every, save_every, keep.", valueName: "file"))
    var settings: String?

    @Option(help: ArgumentHelp("Steps of the whole run. (default: 1000)", valueName: "n"))
    var steps: Int?

    @Option(help: ArgumentHelp("Times every row is seen, in place of --steps.", valueName: "n"))
    var epochs: Int?

    @Option(help: ArgumentHelp("Rows of a batch, or all. (default: 32)", valueName: "n"))
    var batchSize: String?

    @Option(help: ArgumentHelp("Batches whose gradients make one step. (default: 1)", valueName: "n"))
    var accumulate: Int?

    @Option(help: ArgumentHelp("Adam, AdamW or SGD. (default: Adam)", valueName: "name"))
    var optimizer: String?

    @Option(help: ArgumentHelp("The learning rate. (default: 0.001)", valueName: "x"))
    var lr: Double?

    @Option(help: ArgumentHelp("Weight decay. (default: 0)", valueName: "x"))
    var weightDecay: Double?

    @Option(help: ArgumentHelp("Learning rate after the warm-up: constant, linear, cosine or step. (default: constant)", valueName: "shape"))
    var schedule: String?

    @Option(help: ArgumentHelp("Steps the learning rate grows over. (default: 0)", valueName: "n"))
    var warmup: Int?

    @Option(help: ArgumentHelp("The largest norm of all gradients together.", valueName: "x"))
    var clip: Double?

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("Parameters that stay as they are, as a name or a pattern (*.b_*); repeatable.", valueName: "pattern"))
    var freeze: [String] = []

    @Option(help: ArgumentHelp("Steps from one measurement on held-out rows to the next; 0: none. (default: 100)", valueName: "n"))
    var evalEvery: Int?

    @Option(help: ArgumentHelp("Steps from one checkpoint to the next; 0: only at the end. (default: 500)", valueName: "n"))
    var saveEvery: Int?

    @Option(help: ArgumentHelp("Checkpoints kept. (default: 3)", valueName: "n"))
    var keep: Int?

    func validate() throws {
        if steps != nil, epochs != nil { throw ValidationError("give only one of --steps and --epochs") }
        if let batchSize, batchSize != "all", Int(batchSize).map({ $0 >= 1 }) != true {
            throw ValidationError("--batch-size takes a number from 1 or all, not '\(batchSize)'")
        }
        for (name, value, least) in [("--steps", steps, 1), ("--epochs", epochs, 1), ("--accumulate", accumulate, 1), ("--warmup", warmup, 0), ("--eval-every", evalEvery, 0),
                                     ("--save-every", saveEvery, 0), ("--keep", keep, 1)] {
            if let value, value < least { throw ValidationError("\(name) takes a number from \(least), not \(value)") }
        }
    }

    /// - Parameter rowCount: of the data, for epochs.
    func load(rowCount: Int?) throws -> TrainingSettings {
        var fields = try settings.map { try JSON.parse(file: $0).asObject(at: $0) } ?? JSONObject()
        if steps != nil || epochs != nil { (fields["max_steps"], fields["num_epochs"]) = (steps.map(JSON.int), epochs.map(JSON.int)) }
        for (name, value) in [("accumulate", accumulate), ("warmup_steps", warmup), ("eval_every", evalEvery), ("save_every", saveEvery), ("keep", keep)] {
            if let value { fields[name] = .int(value) }
        }
        for (name, value) in [("lr", lr), ("weight_decay", weightDecay), ("max_grad_norm", clip)] { if let value { fields[name] = .double(value) } }
        for (name, value) in [("optimizer_name", optimizer), ("lr_schedule", schedule)] { if let value { fields[name] = .string(value) } }
        if let batchSize { fields["batch_size"] = Int(batchSize).map(JSON.int) ?? .null }
        if !freeze.isEmpty { fields["frozen"] = .array(freeze.map(JSON.string)) }
        return try TrainingSettings(json: .object(fields), at: settings ?? "settings", rowCount: rowCount)
    }
}
