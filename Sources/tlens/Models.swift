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
        let families = RegisteredModel.families
        if let family, !families.contains(family) {
            throw ValidationError("unknown family '\(family)': the families are \(families.joined(separator: ", "))")
        }
    }

    func run() throws {
        let models = RegisteredModel.all.filter { family == nil || $0.family == family }
        if output.json {
            try printJSON(.array(models.map { model in
                ["family": .string(model.family), "id": .string(model.hubID), "aliases": .array(model.aliases.map(JSON.string)),
                 "checkpoints": checkpoints(of: model)]
            }))
            return
        }
        var table = TextTable(["family", "hub id", "aliases"])
        for model in models {
            table.add([model.family, model.hubID + (model.checkpoints == nil ? "" : " *"), model.aliases.joined(separator: ", ")])
        }
        try say(table.text)
        try say("\nIn tlens itself, with no download: \(ShippedFiles.folders.joined(separator: ", ")).")
        let architectures = Architecture.all.flatMap(\.huggingFaceNames)
        if models.contains(where: { $0.checkpoints != nil }) { try say("\n* with checkpoints of its training (--checkpoint)") }
        try say("\nAny checkpoint of these architectures loads from its folder: \(architectures.joined(separator: ", ")).")
    }

    /// Steps, "files" where the repository's files tell them, or null.
    private func checkpoints(of model: RegisteredModel) -> JSON {
        switch model.checkpoints {
        case .revisions(_, let steps)?: .array(steps.map(JSON.int))
        case .files?: "files"
        case nil: .null
        }
    }
}
