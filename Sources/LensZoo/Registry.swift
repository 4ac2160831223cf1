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
    ("gptj", "EleutherAI/gpt-j-6B", "gpt-j-6B gpt-j gptj"),
    ("gpt_neox", "EleutherAI/gpt-neox-20b", "gpt-neox-20b gpt-neox neox"),
    ("gpt_neox", "EleutherAI/pythia-1.4b", "pythia-1.4b EleutherAI/pythia-1.3b pythia-1.3b"),
    ("gpt_neox", "EleutherAI/pythia-1.4b-deduped", "pythia-1.4b-deduped EleutherAI/pythia-1.3b-deduped pythia-1.3b-deduped"),
    ("gpt_neox", "EleutherAI/pythia-1.4b-deduped-v0", "pythia-1.4b-deduped-v0 EleutherAI/pythia-1.3b-deduped-v0 pythia-1.3b-deduped-v0"),
    ("gpt_neox", "EleutherAI/pythia-1.4b-v0", "pythia-1.4b-v0 EleutherAI/pythia-1.3b-v0 pythia-1.3b-v0"),
    ("gpt_neox", "EleutherAI/pythia-12b", "pythia-12b EleutherAI/pythia-13b pythia-13b"),
    ("gpt_neox", "EleutherAI/pythia-12b-deduped", "pythia-12b-deduped EleutherAI/pythia-13b-deduped pythia-13b-deduped"),
    ("gpt_neox", "EleutherAI/pythia-12b-deduped-v0", "pythia-12b-deduped-v0 EleutherAI/pythia-13b-deduped-v0 pythia-13b-deduped-v0"),
    ("gpt_neox", "EleutherAI/pythia-12b-v0", "pythia-12b-v0 EleutherAI/pythia-13b-v0 pythia-13b-v0"),
    ("gpt_neox", "EleutherAI/pythia-14m", "pythia-14m"),
    ("gpt_neox", "EleutherAI/pythia-160m", "pythia-160m EleutherAI/pythia-125m pythia-125m"),
    ("gpt_neox", "EleutherAI/pythia-160m-deduped", "pythia-160m-deduped EleutherAI/pythia-125m-deduped pythia-125m-deduped"),
    ("gpt_neox", "EleutherAI/pythia-160m-deduped-v0", "pythia-160m-deduped-v0 EleutherAI/pythia-125m-deduped-v0 pythia-125m-deduped-v0"),
    ("gpt_neox", "EleutherAI/pythia-160m-seed1", "pythia-160m-seed1 EleutherAI/pythia-125m-seed1 pythia-125m-seed1"),
    ("gpt_neox", "EleutherAI/pythia-160m-seed2", "pythia-160m-seed2 EleutherAI/pythia-125m-seed2 pythia-125m-seed2"),
    ("gpt_neox", "EleutherAI/pythia-160m-seed3", "pythia-160m-seed3 EleutherAI/pythia-125m-seed3 pythia-125m-seed3"),
    ("gpt_neox", "EleutherAI/pythia-160m-v0", "pythia-160m-v0 EleutherAI/pythia-125m-v0 pythia-125m-v0"),
    ("gpt_neox", "EleutherAI/pythia-1b", "pythia-1b EleutherAI/pythia-800m pythia-800m"),
    ("gpt_neox", "EleutherAI/pythia-1b-deduped", "pythia-1b-deduped EleutherAI/pythia-800m-deduped pythia-800m-deduped"),
    ("gpt_neox", "EleutherAI/pythia-1b-deduped-v0", "pythia-1b-deduped-v0 EleutherAI/pythia-800m-deduped-v0 pythia-800m-deduped-v0"),
    ("gpt_neox", "EleutherAI/pythia-1b-v0", "pythia-1b-v0 EleutherAI/pythia-800m-v0 pythia-800m-v0"),
    ("gpt_neox", "EleutherAI/pythia-2.8b", "pythia-2.8b EleutherAI/pythia-2.7b pythia-2.7b"),
    ("gpt_neox", "EleutherAI/pythia-2.8b-deduped", "pythia-2.8b-deduped EleutherAI/pythia-2.7b-deduped pythia-2.7b-deduped"),
    ("gpt_neox", "EleutherAI/pythia-2.8b-deduped-v0", "pythia-2.8b-deduped-v0 EleutherAI/pythia-2.7b-deduped-v0 pythia-2.7b-deduped-v0"),
    ("gpt_neox", "EleutherAI/pythia-2.8b-v0", "pythia-2.8b-v0 EleutherAI/pythia-2.7b-v0 pythia-2.7b-v0"),
    ("gpt_neox", "EleutherAI/pythia-31m", "pythia-31m"),
    ("gpt_neox", "EleutherAI/pythia-410m", "pythia-410m EleutherAI/pythia-350m pythia-350m"),
    ("gpt_neox", "EleutherAI/pythia-410m-deduped", "pythia-410m-deduped EleutherAI/pythia-350m-deduped pythia-350m-deduped"),
    ("gpt_neox", "EleutherAI/pythia-410m-deduped-v0", "pythia-410m-deduped-v0 EleutherAI/pythia-350m-deduped-v0 pythia-350m-deduped-v0"),
    ("gpt_neox", "EleutherAI/pythia-410m-v0", "pythia-410m-v0 EleutherAI/pythia-350m-v0 pythia-350m-v0"),
    ("gpt_neox", "EleutherAI/pythia-6.9b", "pythia-6.9b EleutherAI/pythia-6.7b pythia-6.7b"),
    ("gpt_neox", "EleutherAI/pythia-6.9b-deduped", "pythia-6.9b-deduped EleutherAI/pythia-6.7b-deduped pythia-6.7b-deduped"),
    ("gpt_neox", "EleutherAI/pythia-6.9b-deduped-v0", "pythia-6.9b-deduped-v0 EleutherAI/pythia-6.7b-deduped-v0 pythia-6.7b-deduped-v0"),
    ("gpt_neox", "EleutherAI/pythia-6.9b-v0", "pythia-6.9b-v0 EleutherAI/pythia-6.7b-v0 pythia-6.7b-v0"),
    ("gpt_neox", "EleutherAI/pythia-70m", "pythia-70m pythia EleutherAI/pythia-19m pythia-19m"),
    ("gpt_neox", "EleutherAI/pythia-70m-deduped", "pythia-70m-deduped EleutherAI/pythia-19m-deduped pythia-19m-deduped"),
    ("gpt_neox", "EleutherAI/pythia-70m-deduped-v0", "pythia-70m-deduped-v0 EleutherAI/pythia-19m-deduped-v0 pythia-19m-deduped-v0"),
    ("gpt_neox", "EleutherAI/pythia-70m-v0", "pythia-70m-v0 pythia-v0 EleutherAI/pythia-19m-v0 pythia-19m-v0"),
    ("gpt_neox", "stabilityai/stablelm-base-alpha-3b", "stablelm-base-alpha-3b stablelm-base-3b"),
    ("gpt_neox", "stabilityai/stablelm-base-alpha-7b", "stablelm-base-alpha-7b stablelm-base-7b"),
    ("gpt_neox", "stabilityai/stablelm-tuned-alpha-3b", "stablelm-tuned-alpha-3b stablelm-tuned-3b"),
    ("gpt_neox", "stabilityai/stablelm-tuned-alpha-7b", "stablelm-tuned-alpha-7b stablelm-tuned-7b"),
    ("mistral", "mistralai/Mistral-7B-Instruct-v0.1", "mistral-7b-instruct"),
    ("mistral", "mistralai/Mistral-7B-v0.1", "mistral-7b"),
    ("mistral", "mistralai/Mistral-Nemo-Base-2407", "mistral-nemo-base-2407"),
    ("mistral", "mistralai/Mistral-Small-24B-Base-2501", ""),
    ("phi", "microsoft/phi-1", "phi-1"),
    ("phi", "microsoft/phi-1_5", "phi-1_5"),
    ("phi", "microsoft/phi-2", "phi-2"),
    ("phi3", "microsoft/Phi-3-mini-4k-instruct", "phi-3"),
    ("phi3", "microsoft/phi-4", "phi-4"),
    ("qwen2", "Qwen/Qwen1.5-0.5B", "qwen1.5-0.5b"),
    ("qwen2", "Qwen/Qwen1.5-0.5B-Chat", "qwen1.5-0.5b-chat"),
    ("qwen2", "Qwen/Qwen1.5-1.8B", "qwen1.5-1.8b"),
    ("qwen2", "Qwen/Qwen1.5-1.8B-Chat", "qwen1.5-1.8b-chat"),
    ("qwen2", "Qwen/Qwen1.5-14B", "qwen1.5-14b"),
    ("qwen2", "Qwen/Qwen1.5-14B-Chat", "qwen1.5-14b-chat"),
    ("qwen2", "Qwen/Qwen1.5-4B", "qwen1.5-4b"),
    ("qwen2", "Qwen/Qwen1.5-4B-Chat", "qwen1.5-4b-chat"),
    ("qwen2", "Qwen/Qwen1.5-7B", "qwen1.5-7b"),
    ("qwen2", "Qwen/Qwen1.5-7B-Chat", "qwen1.5-7b-chat"),
    ("qwen2", "Qwen/Qwen2-0.5B", "qwen2-0.5b"),
    ("qwen2", "Qwen/Qwen2-0.5B-Instruct", "qwen2-0.5b-instruct"),
    ("qwen2", "Qwen/Qwen2-1.5B", "qwen2-1.5b"),
    ("qwen2", "Qwen/Qwen2-1.5B-Instruct", "qwen2-1.5b-instruct"),
    ("qwen2", "Qwen/Qwen2-7B", "qwen2-7b"),
    ("qwen2", "Qwen/Qwen2-7B-Instruct", "qwen2-7b-instruct"),
    ("qwen2", "Qwen/Qwen2.5-0.5B", "qwen2.5-0.5b"),
    ("qwen2", "Qwen/Qwen2.5-0.5B-Instruct", "qwen2.5-0.5b-instruct"),
    ("qwen2", "Qwen/Qwen2.5-1.5B", "qwen2.5-1.5b"),
    ("qwen2", "Qwen/Qwen2.5-1.5B-Instruct", "qwen2.5-1.5b-instruct"),
    ("qwen2", "Qwen/Qwen2.5-14B", "qwen2.5-14b"),
    ("qwen2", "Qwen/Qwen2.5-14B-Instruct", "qwen2.5-14b-instruct"),
    ("qwen2", "Qwen/Qwen2.5-32B", "qwen2.5-32b"),
    ("qwen2", "Qwen/Qwen2.5-32B-Instruct", "qwen2.5-32b-instruct"),
    ("qwen2", "Qwen/Qwen2.5-3B", "qwen2.5-3b"),
    ("qwen2", "Qwen/Qwen2.5-3B-Instruct", "qwen2.5-3b-instruct"),
    ("qwen2", "Qwen/Qwen2.5-72B", "qwen2.5-72b"),
    ("qwen2", "Qwen/Qwen2.5-72B-Instruct", "qwen2.5-72b-instruct"),
    ("qwen2", "Qwen/Qwen2.5-7B", "qwen2.5-7b"),
    ("qwen2", "Qwen/Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
    ("qwen2", "Qwen/QwQ-32B-Preview", "qwen-32b-preview"),
    ("qwen3", "Qwen/Qwen3-0.6B", "qwen3-0.6b"),
    ("qwen3", "Qwen/Qwen3-0.6B-Base", "qwen3-0.6b-base"),
    ("qwen3", "Qwen/Qwen3-1.7B", "qwen3-1.7b"),
    ("qwen3", "Qwen/Qwen3-14B", "qwen3-14b"),
    ("qwen3", "Qwen/Qwen3-4B", "qwen3-4b"),
    ("qwen3", "Qwen/Qwen3-8B", "qwen3-8b"),
]
