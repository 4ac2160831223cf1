// `tlens quantize`: a model written with its weights in another format.

import ArgumentParser
import TransformerLens

struct Quantize: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a model with its weights in another format.",
        usage: "tlens quantize <model> <out> --dtype <type> [--json]",
        discussion: """
            A GGUF file becomes a GGUF file with the same metadata, which llama.cpp reads too. A folder becomes a folder with \
            model.gguf, its configuration and its tokenizer: tlens loads it, and any reader of GGUF files lists it. What does \
            not fill the blocks of a quantised format is written in two bytes; biases, norms and positions stay as they are.

            How much was lost, layer by layer, tlens eval tells:

              tlens quantize gpt2-small gpt2-q8 --dtype q8_0
              tlens eval gpt2-q8 --against gpt2-small
            """)

    @Argument(help: "A folder, a registered name, a hub id, or a GGUF file that is not quantised.")
    var model: String

    @Argument(help: "The folder, or for a GGUF file the file, to write.")
    var out: String

    @Option(help: ArgumentHelp("bf16, f16, q8_0 or q4_0.", valueName: "type"))
    var dtype: String

    @OptionGroup var output: OutputOptions

    func validate() throws {
        let formats = WeightFormat.loadable.filter { $0 != .float32 }
        guard formats.contains(where: { $0.rawValue == dtype }) else {
            throw ValidationError("--dtype takes \(formats.map(\.rawValue).joined(separator: ", ")), not '\(dtype)'")
        }
        if model == out { throw ValidationError("the model would be written over itself") }
    }

    func run() throws {
        guard let format = WeightFormat(rawValue: dtype) else { return }
        let quantizer = try ModelQuantizer(format), progress = Progress(output)
        progress.show("writing \(out) …")
        let isFile = model.hasSuffix(".gguf")
        if isFile != out.hasSuffix(".gguf") {
            throw LensError(.usage, "another kind of place than the model's", at: out,
                            expected: isFile ? "a name that ends in .gguf, as the model's does" : "a folder to make, as the model is one")
        }
        let written = try isFile ? quantizer.quantize(file: model, to: out) : quantizer.quantize(folder: ModelLocator.folder(of: model), to: out)
        progress.clear()
        try report(written)
    }

    private func report(_ written: [ModelQuantizer.Written]) throws {
        let bytes = written.reduce(0) { $0 + $1.byteCount }
        if output.json {
            try printJSON(["path": .string(out), "bytes": .int(bytes), "tensors": .array(written.map { tensor in
                ["name": .string(tensor.name), "shape": .array(tensor.shape.map(JSON.int)), "type": .string(tensor.type.name), "bytes": .int(tensor.byteCount)]
            })])
            return
        }
        var table = TextTable(["type", "#tensors", "#bytes"])
        for (type, tensors) in Dictionary(grouping: written, by: \.type.name).sorted(by: { $0.key < $1.key }) {
            table.add([type, "\(tensors.count)", grouped(tensors.reduce(0) { $0 + $1.byteCount })])
        }
        try say(table.text)
        try say("\nWritten to \(escaped(out)): \(grouped(bytes)) bytes of weights.")
    }
}
