// The names people use for models, and where each is on the hub. Names find files; they never decide numerics.

import LensFiles

/// A model with a name.
public struct RegisteredModel: Sendable, Hashable {
    /// TransformerLens' official name: the hub's id.
    public let hubID: String
    /// Short names, the usual one first.
    public let aliases: [String]
    /// The family's short name.
    public let family: String

    /// The hub's names without an organisation, from before it had any: older caches hold them.
    var formerIDs: [String] {
        let organisations = ["openai-community/", "distilbert/"]
        return organisations.filter(hubID.hasPrefix).map { String(hubID.dropFirst($0.count)) }
    }

    /// Every registered model.
    public static let all: [RegisteredModel] = registeredModels.map { family, hubID, aliases in
        RegisteredModel(hubID: hubID, aliases: aliases.split(separator: " ").map(String.init), family: family)
    }

    /// The families of the registered models and of those that only folders hold, in alphabetical order. `hooked_transformer` is
    /// TransformerLens' own kind: a `HookedTransformerConfig` and its weights.
    public static let families: [String] = Set(all.map(\.family) + Architecture.all.map(\.family)).sorted()

    /// The model of that name, alias or hub id; case does not matter.
    public static func named(_ name: String) -> RegisteredModel? {
        let wanted = name.lowercased()
        return all.first { model in model.hubID.lowercased() == wanted || model.aliases.contains { $0.lowercased() == wanted } }
    }
}
