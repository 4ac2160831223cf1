"""One prompt through stories260K, a real trained LLaMA (8 heads on 4, 260 thousand parameters): a JSON of tokens,
logits and the sites with their shapes. The weights stay where they are."""

import json
from pathlib import Path

import torch
from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM

from .recorder import check, run
from .tl_models import to_tl

PROMPT = "Once upon a time"


def significant(values, digits=8):
    """Nested lists of floats with as many digits as float32 holds."""
    if isinstance(values, list):
        return [significant(value, digits) for value in values]
    return float(f"{values:.{digits}g}")


def make(folder: Path, target: Path, versions):
    hf = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(PROMPT, return_tensors="pt").input_ids
    tl = to_tl(hf)
    logits, recorder = run(tl, tokens, strict=True)
    with torch.no_grad():
        error = check(logits, hf(tokens).logits, "stories260K")
        hf.generation_config = GenerationConfig(max_new_tokens=80, do_sample=False, use_cache=True, pad_token_id=0)
        generated = hf.generate(tokens, attention_mask=torch.ones_like(tokens))
        loss = tl(tokens, return_type="loss").item()
    document = {
        "model": "stories260K", "made_with": versions, "prompt": PROMPT, "tokens": tokens.tolist(),
        "hf_relative_error": error, "loss": significant(loss), "greedy_80": generated.tolist(),
        "greedy_80_text": tokenizer.decode(generated[0], skip_special_tokens=True),
        "sites": {name: list(value.shape) for name, value in recorder.values.items()},
        "largest": {name: significant(value.abs()[torch.isfinite(value)].max().item())
                    for name, value in recorder.values.items()},
        "sums": {name: significant(value[torch.isfinite(value)].double().sum().item())
                 for name, value in recorder.values.items()},
        "fired": recorder.fired, "logits": significant(logits.tolist()),
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in document.items()]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return document["greedy_80_text"]
