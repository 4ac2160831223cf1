// `tlens info`: configuration, parameters and hook sites of a model.

import ArgumentParser
import TransformerLens

struct Info: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show a model's configuration, parameter count and hook sites with their shapes.",
        usage: "tlens info <model> [<options>]")

    @OptionGroup var options: ModelOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let model = try options.open(output).any
        try output.json ? printJSON(json(model)) : printText(model)
    }

    private func printText(_ model: any HookedModel) throws {
        let fields = try model.config.hookedTransformerConfig.asObject(at: "configuration")
        var facts = TextTable(["configuration", ""])
        facts.add(["runs as", model.config.kind.typeName])
        for (name, value) in fields.pairs where !value.isNull {
            facts.add([name, escaped(try value.stringValue ?? value.text())])
        }
        facts.add(["parameters", grouped(model.model.parameters.count)])
        facts.add(["held in memory", "\(grouped(model.model.parameters.byteCount)) bytes"])
        for (format, activations, count, bytes) in formats(model.model.parameters) {
            facts.add(["  \(format)\(activations == .float32 ? "" : ", \(activations) activations")", "\(grouped(bytes)) bytes, \(count) \(count == 1 ? "tensor" : "tensors")"])
        }
        facts.add(["processing", escaped(model.model.processing.description)])
        facts.add(["runs on", "\(try Kernels.instructionSet()), \(threadCount(Kernels.threads))"])
        try say(facts.text + "\n")
        var table = TextTable(["hook site", "shape", "holds"])
        for (stack, site) in sites(model.config) {
            table.add([Self.name(stack, site) + (site.row.isOnDemand ? " *" : ""), shape(site, model.config), site.row.about])
        }
        try say(table.text)
        let layers = model.config.hookStacks.map { "\($0.stack == .blocks ? "" : "\($0.stack.rawValue) ")0 to \($0.nLayers - 1)" }.joined(separator: ", ")
        let experts = model.config.mlp?.experts.map { "  {e}: 0 to \($0.count - 1)." } ?? ""
        try say("\n{i}: \(layers).\(experts)  *: exists where it is named, not under `all`.")
    }

    private func json(_ model: any HookedModel) throws -> JSON {
        [
            "config": model.config.hookedTransformerConfig, "type": .string(model.config.kind.typeName),
            "parameters": .int(model.model.parameters.count),
            "bytes": .int(model.model.parameters.byteCount),
            "weights": .array(model.model.parameters.kept.map { kept in
                ["name": .string(kept.name), "shape": .array(kept.shape.map(JSON.int)), "format": .string(kept.format.rawValue),
                 "activations": .string(kept.activations.rawValue),
                 "bytes": .int(kept.byteCount)]
            }),
            "processing": [
                "done": .array(model.model.processing.done.map { .string($0.rawValue) }),
                "skipped": .array(model.model.processing.skipped.map { ["step": .string($0.step.rawValue), "reason": .string($0.reason)] }),
            ],
            "instruction_set": .string(try Kernels.instructionSet()),
            "threads": .int(Kernels.threads),
            "hook_sites": .array(sites(model.config).map { stack, site in
                ["name": .string(Self.name(stack, site)), "on_demand": .bool(site.row.isOnDemand), "about": .string(site.row.about),
                 "axes": .array(model.config.axes(of: site).map { .string($0.rawValue) }),
                 "shape": .array(model.config.axes(of: site).map { axis in model.config.size(of: axis).map(JSON.int) ?? .null })]
            }),
        ]
    }

    /// What is kept in each format, most bytes first.
    private func formats(_ parameters: Parameters) -> [(format: WeightFormat, activations: ActivationFormat, count: Int, bytes: Int)] {
        Dictionary(grouping: parameters.kept) { [$0.format.rawValue, $0.activations.rawValue] }.values
            .map { ($0[0].format, $0[0].activations, $0.count, $0.reduce(0) { $0 + $1.byteCount }) }
            .sorted { ($0.3, $0.0.rawValue, $0.1.rawValue) > ($1.3, $1.0.rawValue, $1.1.rawValue) }
    }

    /// Every site in firing order, stack by stack.
    private func sites(_ config: ModelConfig) -> [(HookStack, HookSite)] {
        var seen: Set<HookPoint> = []
        return config.hookPoints.map { ($0.stack, $0.site) }.filter { seen.insert(HookPoint($0.1, stack: $0.0, layer: $0.1.isInBlock ? 0 : nil)).inserted }
    }

    /// `encoder.{i}.attn.hook_z`
    private static func name(_ stack: HookStack, _ site: HookSite) -> String {
        site.isInBlock ? stack.rawValue + site.rawValue.dropFirst(HookStack.blocks.rawValue.count) : site.rawValue
    }

    /// `[batch, pos, head 8, d_head 8]`
    private func shape(_ site: HookSite, _ config: ModelConfig) -> String {
        let axes = config.axes(of: site).map { axis in
            axis == .one || axis == .two ? axis.rawValue : axis.rawValue + (config.size(of: axis).map { " \($0)" } ?? "")
        }
        return "[\(axes.joined(separator: ", "))]"
    }
}
