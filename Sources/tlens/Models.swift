// `tlens models`: the registry.

import ArgumentParser
import TransformerLens

struct Models: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "List the registered models.",
                                                    usage: "tlens models [--family <name>] [--json]")

    @Option(help: ArgumentHelp("Only one family.", valueName: "name"))
    var family: String?

    @OptionGroup var output: OutputOptions

    func validate() throws {
        let families = Architecture.all.map(\.family)
        if let family, !families.contains(family) {
            throw ValidationError("unknown family '\(family)': the families are \(families.joined(separator: ", "))")
        }
    }

    func run() throws {
        let models = RegisteredModel.all.filter { family == nil || $0.family == family }
        if output.json {
            try printJSON(.array(models.map { model in
                ["family": .string(model.family), "id": .string(model.hubID), "aliases": .array(model.aliases.map(JSON.string))]
            }))
            return
        }
        var table = TextTable(["family", "hub id", "aliases"])
        for model in models { table.add([model.family, model.hubID, model.aliases.joined(separator: ", ")]) }
        try say(table.text)
        let architectures = Architecture.all.flatMap(\.huggingFaceNames)
        try say("\nAny checkpoint of these architectures loads from its folder: \(architectures.joined(separator: ", ")).")
    }
}
