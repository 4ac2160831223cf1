"""Long greedy generation by Hugging Face: 200 tokens from the models of the golden folders, each prompt alone and all in one
left-padded batch. Their contexts are too short for that, so they are lengthened here and, the same way, in the Swift
test: position tables repeat, everything else is only a number. Only tokens are kept."""

import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

FOLDERS = ["gpt2-tiny", "llama-grouped", "llama-rope-llama3", "mistral", "gemma2", "gemma3", "gpt-neox", "gptj", "opt", "gpt-neo",
           "bloom", "falcon", "qwen2", "qwen3", "phi", "olmo", "stablelm", "starcoder2", "gpt-bigcode", "glm4"]
CONTEXT, NEW, LENGTHS, VOCABULARY = 256, 200, (9, 3, 6), 97
# name of the position table, rows before position 0
TABLES = {"gpt2": ("transformer.wpe.weight", 0), "gpt_neo": ("transformer.wpe.weight", 0),
          "gpt_bigcode": ("transformer.wpe.weight", 0), "opt": ("model.decoder.embed_positions.weight", 2)}


def lengthened(folder: Path):
    """The folder's model with a context of 256."""
    config = AutoConfig.from_pretrained(folder)
    short = config.max_position_embeddings if config.model_type != "bloom" else None
    if short is not None:
        setattr(config, "n_positions" if hasattr(config, "n_positions") else "max_position_embeddings", CONTEXT)
    state = {}
    for path in sorted(folder.glob("model*.safetensors")):
        state.update(load_file(path))
    if config.model_type in TABLES:
        name, before = TABLES[config.model_type]
        name = name if name in state else name.split(".", 1)[1]
        table = state[name]
        rows = [table[before + position % short] for position in range(CONTEXT)]
        state[name] = torch.cat([table[:before], torch.stack(rows)]).contiguous()
    with tempfile.TemporaryDirectory() as place:
        config.save_pretrained(place)
        save_file(state, f"{place}/model.safetensors", metadata={"format": "pt"})
        return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, attn_implementation="eager").eval()


def greedy(model, rows):
    """Rows continued together; the new tokens, and how far the best was ahead at the closest step, relative to the spread."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    model.generation_config = GenerationConfig(max_new_tokens=NEW, do_sample=False, use_cache=True, pad_token_id=0,
                                               output_logits=True, return_dict_in_generate=True)
    with torch.no_grad():
        result = model.generate(tokens, attention_mask=mask)
    logits = torch.stack(result.logits, dim=1)
    top = logits.topk(2, dim=-1).values
    return result.sequences[:, longest:].tolist(), ((top[..., 0] - top[..., 1]).min() / logits.std()).item()


def variety(rows):
    return min(len(set(row)) for row in rows)


def make(root: Path, versions):
    document = {"made_with": versions, "context": CONTEXT, "models": {}}
    for name in FOLDERS:
        model = lengthened(root / name)
        best = None
        for seed in range(12):
            generator = torch.Generator().manual_seed(seed)
            rows = [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in LENGTHS]
            together, margin = greedy(model, rows)
            if margin < 2e-4 or (best and variety(together) <= best[0]):
                continue
            alone = [greedy(model, [row]) for row in rows]
            if [new[0] for new, _ in alone] == together:
                best = (variety(together), margin, rows, together)
        if best is None:
            raise ValueError(f"{name}: every seed is a near tie")
        document["models"][name] = {"prompts": best[2], "new": best[3]}
        print(f"{name:20} margin {best[1]:.1e}, at least {best[0]} different tokens", flush=True)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in document["models"].items())
    head = json.dumps({key: value for key, value in document.items() if key != "models"})
    (root / "long_greedy.json").write_text(head[:-1] + ', "models": {\n' + lines + "\n}}\n")


def main():
    from importlib.metadata import version
    torch.set_num_threads(1)
    make(Path(__file__).resolve().parent.parent, {name: version(name) for name in ("transformers", "torch")})


if __name__ == "__main__":
    main()
