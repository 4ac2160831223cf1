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

    /// Every registered model.
    public static let all: [RegisteredModel] = table.map { family, hubID, aliases in
        RegisteredModel(hubID: hubID, aliases: aliases.split(separator: " ").map(String.init), family: family)
    }

    /// The model of that name, alias or hub id; case does not matter.
    public static func named(_ name: String) -> RegisteredModel? {
        let wanted = name.lowercased()
        return all.first { model in model.hubID.lowercased() == wanted || model.aliases.contains { $0.lowercased() == wanted } }
    }
}

private let table: [(family: String, hubID: String, aliases: String)] = [
    ("gpt2", "ai-forever/mGPT", "mGPT"),
    ("gpt2", "distilbert/distilgpt2", "distilgpt2 distillgpt2 distill-gpt2 distil-gpt2 gpt2-xs"),
    ("gpt2", "openai-community/gpt2", "gpt2-small gpt2"),
    ("gpt2", "openai-community/gpt2-large", "gpt2-large"),
    ("gpt2", "openai-community/gpt2-medium", "gpt2-medium"),
    ("gpt2", "openai-community/gpt2-xl", "gpt2-xl"),
    ("gpt2", "stanford-crfm/alias-gpt2-small-x21", "stanford-gpt2-small-a alias-gpt2-small-x21 gpt2-mistral-small-a gpt2-stanford-small-a"),
    ("gpt2", "stanford-crfm/arwen-gpt2-medium-x21", "stanford-gpt2-medium-a arwen-gpt2-medium-x21 gpt2-medium-small-a gpt2-stanford-medium-a"),
    ("gpt2", "stanford-crfm/battlestar-gpt2-small-x49", "stanford-gpt2-small-b battlestar-gpt2-small-x49 gpt2-mistral-small-b"),
    ("gpt2", "stanford-crfm/beren-gpt2-medium-x49", "stanford-gpt2-medium-b beren-gpt2-medium-x49 gpt2-medium-small-b gpt2-stanford-medium-b"),
    ("gpt2", "stanford-crfm/caprica-gpt2-small-x81", "stanford-gpt2-small-c caprica-gpt2-small-x81 gpt2-mistral-small-c gpt2-stanford-small-c"),
    ("gpt2", "stanford-crfm/celebrimbor-gpt2-medium-x81", "stanford-gpt2-medium-c celebrimbor-gpt2-medium-x81 gpt2-medium-small-c"),
    ("gpt2", "stanford-crfm/darkmatter-gpt2-small-x343", "stanford-gpt2-small-d darkmatter-gpt2-small-x343 gpt2-mistral-small-d"),
    ("gpt2", "stanford-crfm/durin-gpt2-medium-x343", "stanford-gpt2-medium-d durin-gpt2-medium-x343 gpt2-medium-small-d gpt2-stanford-medium-d"),
    ("gpt2", "stanford-crfm/eowyn-gpt2-medium-x777", "stanford-gpt2-medium-e eowyn-gpt2-medium-x777 gpt2-medium-small-e gpt2-stanford-medium-e"),
    ("gpt2", "stanford-crfm/expanse-gpt2-small-x777", "stanford-gpt2-small-e expanse-gpt2-small-x777 gpt2-mistral-small-e"),
    ("llama", "01-ai/Yi-34B", "yi-34b Yi-34B"),
    ("llama", "01-ai/Yi-34B-Chat", "yi-34b-chat Yi-34B-Chat"),
    ("llama", "01-ai/Yi-6B", "yi-6b Yi-6B"),
    ("llama", "01-ai/Yi-6B-Chat", "yi-6b-chat Yi-6B-Chat"),
    ("llama", "codellama/CodeLlama-7b-hf", "CodeLlamallama-2-7b"),
    ("llama", "codellama/CodeLlama-7b-Instruct-hf", "CodeLlama-7b-instruct"),
    ("llama", "codellama/CodeLlama-7b-Python-hf", "CodeLlama-7b-python"),
    ("llama", "llama-13b-hf", "llama-13b"),
    ("llama", "llama-30b-hf", "llama-30b"),
    ("llama", "llama-65b-hf", "llama-65b"),
    ("llama", "llama-7b-hf", "llama-7b"),
    ("llama", "meta-llama/Llama-2-13b-chat-hf", "Llama-2-13b-chat"),
    ("llama", "meta-llama/Llama-2-13b-hf", "Llama-2-13b"),
    ("llama", "meta-llama/Llama-2-70b-chat-hf", "Llama-2-70b-chat meta-llama-2-70b-chat-hf"),
    ("llama", "meta-llama/Llama-2-7b-chat-hf", "Llama-2-7b-chat"),
    ("llama", "meta-llama/Llama-2-7b-hf", "Llama-2-7b"),
    ("llama", "meta-llama/Llama-3.1-70B", ""),
    ("llama", "meta-llama/Llama-3.1-70B-Instruct", ""),
    ("llama", "meta-llama/Llama-3.1-8B", ""),
    ("llama", "meta-llama/Llama-3.1-8B-Instruct", ""),
    ("llama", "meta-llama/Llama-3.2-1B", ""),
    ("llama", "meta-llama/Llama-3.2-1B-Instruct", ""),
    ("llama", "meta-llama/Llama-3.2-3B", ""),
    ("llama", "meta-llama/Llama-3.2-3B-Instruct", ""),
    ("llama", "meta-llama/Llama-3.3-70B-Instruct", ""),
    ("llama", "meta-llama/Meta-Llama-3-70B", ""),
    ("llama", "meta-llama/Meta-Llama-3-70B-Instruct", ""),
    ("llama", "meta-llama/Meta-Llama-3-8B", ""),
    ("llama", "meta-llama/Meta-Llama-3-8B-Instruct", ""),
]
