// `tlens steer`: a direction from contrast prompts, or from a file; kept, and added while generating.

import ArgumentParser
import TransformerLens

struct Steer: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a steering vector from contrast prompts, or steer with one.",
        usage: """
            tlens steer <model> --positive <text> --negative <text> [<options>]
            tlens steer <model> --vector <file> --prompt <text> [<options>]
            """,
        discussion: """
            A steering vector holds a direction for each layer, added to the residual stream after it. Files are \
            safetensors or GGUF control vectors, which llama.cpp and repeng read. With prompts, each is continued without \
            and with it.
            """)

    @OptionGroup var options: ModelOptions

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("A prompt of the side to steer to. Repeatable.", valueName: "text"))
    var positive: [String] = []

    @Option(parsing: .unconditionalSingleValue, help: ArgumentHelp("A prompt of the other side. Repeatable.", valueName: "text"))
    var negative: [String] = []

    @Option(help: ArgumentHelp("A file with a prompt a line, besides --positive.", valueName: "file"))
    var positiveFile: String?

    @Option(help: ArgumentHelp("A file with a prompt a line, besides --negative.", valueName: "file"))
    var negativeFile: String?

    @Option(help: ArgumentHelp("mean-difference or pca.", valueName: "method"))
    var method = SteeringVector.Method.meanDifference.rawValue

    @Option(help: ArgumentHelp("Which states of a prompt: last or mean.", valueName: "which"))
    var pooling = SteeringVector.Pooling.last.rawValue

    @Flag(help: "Give every direction length 1.")
    var normalise = false

    @Option(help: ArgumentHelp("A steering vector to use instead: .safetensors or .gguf.", valueName: "file"))
    var vector: String?

    @Option(help: ArgumentHelp("Layers: all, or 3,4,-1. (default: all there are)", valueName: "list"))
    var layers = "all"

    @Option(help: ArgumentHelp("Where to keep the vector: .safetensors or .gguf.", valueName: "file"))
    var out: String?

    @Option(name: .customLong("prompt"), parsing: .unconditionalSingleValue, help: ArgumentHelp("A prompt to continue. Repeatable.", valueName: "text"))
    var prompts: [String] = []

    @Option(parsing: .unconditional, help: ArgumentHelp("How many times the directions are added.", valueName: "x"))
    var strength = 1.0

    @Option(help: ArgumentHelp("Steered positions: new tokens, or all.", valueName: "which"))
    var at = "new"

    @Option(help: ArgumentHelp("Most tokens to add.", valueName: "n"))
    var maxNewTokens = 20

    @OptionGroup var choice: SamplingOptions
    @OptionGroup var bos: BOSOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        let contrasts = !positive.isEmpty || !negative.isEmpty || positiveFile != nil || negativeFile != nil
        guard contrasts != (vector != nil) else { throw ValidationError("give contrast prompts (--positive and --negative), or --vector") }
        if contrasts, positive.isEmpty && positiveFile == nil || negative.isEmpty && negativeFile == nil {
            throw ValidationError("contrast prompts need both sides: --positive and --negative")
        }
        guard SteeringVector.Method(rawValue: method) != nil else { throw ValidationError("--method takes mean-difference or pca, not '\(method)'") }
        guard SteeringVector.Pooling(rawValue: pooling) != nil else { throw ValidationError("--pooling takes last or mean, not '\(pooling)'") }
        guard ["new", "all"].contains(at) else { throw ValidationError("--at takes new or all, not '\(at)'") }
        guard strength.isFinite else { throw ValidationError("--strength takes a finite number, not \(strength)") }
        guard maxNewTokens >= 0 else { throw ValidationError("--max-new-tokens takes a number from 0, not \(maxNewTokens)") }
        if let out, !out.hasSuffix(".safetensors"), !out.hasSuffix(".gguf") {
            throw ValidationError("--out takes a name ending in .safetensors or .gguf, not '\(out)'")
        }
        if layers != "all" { _ = try layerList(layers) }
    }

    func run() throws {
        let model = try options.load(output)
        let steering = try steeringVector(model)
        if let out { try steering.save(to: out, modelHint: model.config.modelName) }
        var plain: [String] = [], steered: [String] = []
        if !prompts.isEmpty {
            let chosen = try vector != nil && layers != "all" ? layerList(layers) : nil
            let hooks = try steering.hooks(for: model.config, strength: Float(strength), at: at == "all" ? .all : .everyNewToken, layers: chosen)
            plain = try model.generate(prompts, maxNewTokens: maxNewTokens, sampling: choice.sampling, prependBOS: bos.choice)
            steered = try model.generate(prompts, maxNewTokens: maxNewTokens, sampling: choice.sampling, prependBOS: bos.choice, hooks: hooks)
        }
        try output.json ? printJSON(json(steering, plain, steered)) : show(steering, plain, steered)
    }

    private func steeringVector(_ model: HookedTransformer) throws -> SteeringVector {
        if let vector { return try SteeringVector(contentsOf: vector) }
        func rows(_ texts: [String], _ file: String?) throws -> [[Int]] {
            try (texts + (file.map(InputOptions.lines(of:)) ?? [])).map { try model.toTokens($0, prependBOS: bos.choice, truncate: false).array }
        }
        guard let method = SteeringVector.Method(rawValue: method), let pooling = SteeringVector.Pooling(rawValue: pooling) else {
            throw LensError(.usage, "unknown method")  // unreachable: validated
        }
        // A GGUF control vector has no layer 0: all are then those from 1.
        let all = out?.hasSuffix(".gguf") == true ? Array(1..<max(1, model.config.nLayers)) : nil
        return try SteeringVector.from(model.model, positive: rows(positive, positiveFile), negative: rows(negative, negativeFile), method: method,
                                       pooling: pooling, layers: layers == "all" ? all : layerList(layers), normalise: normalise)
    }

    private func length(_ tensor: Tensor?) -> Double { (tensor?.array ?? []).reduce(0) { $0 + Double($1) * Double($1) }.squareRoot() }

    private func show(_ steering: SteeringVector, _ plain: [String], _ steered: [String]) throws {
        if plain.isEmpty {
            var table = TextTable(["#layer", "#length"])
            for layer in steering.layers { table.add(["\(layer)", fixed(length(steering.directions[layer]), 3)]) }
            try say(table.text)
        }
        for (before, after) in zip(plain, steered) { try say("without: \(before)\nwith:    \(after)") }
        if let out { try say("\nwrote \(out): \(steering.layers.count) directions") }
    }

    private func json(_ steering: SteeringVector, _ plain: [String], _ steered: [String]) -> JSON {
        ["layers": .array(steering.layers.map { ["layer": .int($0), "length": .double(length(steering.directions[$0]))] }),
         "generations": .array(zip(plain, steered).map { ["plain": .string($0), "steered": .string($1)] }), "out": out.map(JSON.string) ?? .null]
    }
}
