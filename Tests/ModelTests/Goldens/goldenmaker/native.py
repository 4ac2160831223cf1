"""TransformerLens models with no Hugging Face counterpart, and TransformerLens' own view of two that have one.

A native folder holds `tl_config.json` (the fields of HookedTransformerConfig, those JSON can say),
`state_dict.safetensors` (the whole state dict, buffers too) and a golden.
"""

import json
import shutil

import torch
from safetensors.torch import save_file
from transformer_lens import HookedTransformer, HookedTransformerConfig

from .recorder import Golden, run

PLAIN = dict(d_model=18, d_head=6, n_heads=3, n_layers=2, n_ctx=16, d_mlp=20, d_vocab=31, init_weights=False,
             device="cpu")
ROTARY = dict(positional_embedding_type="rotary")
NATIVE = {
    "native-ln": dict(act_fn="gelu"),
    "native-rms-rotary": dict(ROTARY, act_fn="silu", normalization_type="RMS", gated_mlp=True, n_heads=4,
                              n_key_value_heads=2, rotary_base=1000),
    "native-no-norm": dict(act_fn="relu", normalization_type=None),
    "native-ln-pre": dict(act_fn="gelu_fast", normalization_type="LNPre"),
    "native-rms-pre": dict(act_fn="gelu_pytorch_tanh", normalization_type="RMSPre"),
    "native-ln-final-rms": dict(act_fn="gelu_new", final_rms=True),
    "native-attn-only": dict(attn_only=True, d_mlp=None),
    "native-parallel": dict(ROTARY, act_fn="gelu_new", parallel_attn_mlp=True),
    "native-gated-ln": dict(act_fn="gelu_new", gated_mlp=True),
    "native-vocab-out": dict(act_fn="relu", d_vocab_out=13),
    "native-bidirectional": dict(act_fn="gelu", attention_dir="bidirectional"),
    "native-partial-rotary": dict(ROTARY, act_fn="relu", rotary_dim=4, normalization_type="RMS"),
    "native-rotary-adjacent": dict(ROTARY, act_fn="relu", rotary_adjacent_pairs=True, rotary_dim=4),
    "native-derived": dict(act_fn="relu", n_heads=-1, d_mlp=None, attn_scale=5.0),
    "native-local": dict(act_fn="gelu", use_local_attn=True, window_size=3, attn_types=["global", "local"]),
}


def plain(cfg):
    """The fields of a config as JSON: a dtype by its name, numpy numbers as numbers."""
    fields = {}
    for name, value in cfg.to_dict().items():
        if isinstance(value, torch.dtype):
            value = str(value).removeprefix("torch.")
        elif hasattr(value, "item"):
            value = value.item()
        fields[name] = value
    return fields


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        draw, leaf = torch.randn(parameter.shape, generator=generator), name.rsplit(".", 1)[-1]
        if leaf == "w":
            value = 1 + 0.3 * draw
        elif leaf.startswith(("b", "_b")):
            value = 0.3 * draw
        elif leaf == "W_O":
            value = draw / (parameter.shape[0] * parameter.shape[1]) ** 0.5
        elif leaf in ("W_E", "W_pos"):
            value = 0.5 * draw
        else:
            value = (2.0 if leaf == "W_U" else 1.2) * draw / parameter.shape[-2] ** 0.5
        parameter.data.copy_(value)


def save_state(model, folder):
    """Writes config and state dict; returns each name with its shape, in TransformerLens' order."""
    state = {name: value.detach().clone().contiguous() for name, value in model.state_dict().items()}
    save_file(state, folder / "state_dict.safetensors")
    (folder / "tl_config.json").write_text(json.dumps(plain(model.cfg), indent=1, sort_keys=True) + "\n")
    return {name: list(value.shape) for name, value in state.items()}


def state(golden, spec, tl):
    """TransformerLens' state dict and config of a model that came from Hugging Face."""
    golden.document["state_dict"] = save_state(tl, golden.folder)


def make(name, fields, root, versions, seed):
    """One native folder: config, state dict, and a plain run with everything it fires."""
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = HookedTransformer(HookedTransformerConfig(**{**PLAIN, **fields})).eval()
    randomise(model, seed)
    golden = Golden(folder, {"model": name, "made_with": versions})
    generator = torch.Generator().manual_seed(2000 + seed)
    tokens = torch.randint(0, model.cfg.d_vocab, (2, 7), generator=generator)
    logits, recorder = run(model, tokens, strict=True)
    golden.document["given"] = {k: v for k, v in {**PLAIN, **fields}.items()}
    golden.document["state_dict"] = save_state(model, folder)
    golden.add("base", {"logits": logits, **recorder.values}, tokens=tokens.tolist(), fired=recorder.fired)
    if name == "native-ln":
        torch.save(model.state_dict(), folder / "weights.pt")
    golden.write()
    return logits
