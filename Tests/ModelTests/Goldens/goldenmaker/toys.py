"""TransformerLens' own toys: SoLU with and without its norm, shortformer positions, models without norms, small algorithmic ones,
experts; and checkpoints in the spellings they had when they were trained (minGPT's, the old SoLU models').
"""

import json
import shutil

import torch
from safetensors.torch import save_file
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.mingpt import convert_mingpt_weights
from transformer_lens.pretrained.weight_conversions.neel_solu_old import convert_neel_solu_old_weights

from .recorder import Golden, run

TRACR = dict(act_fn="relu", normalization_type=None, use_attn_scale=True, attention_dir="bidirectional", d_vocab=7, d_vocab_out=5,
             d_model=11, d_head=4, n_heads=1, d_mlp=9)
NATIVE = {
    "native-solu": dict(act_fn="solu"),
    "native-solu-gated": dict(act_fn="solu", gated_mlp=True, n_layers=1),
    "native-solu-ln": dict(act_fn="solu_ln"),
    "native-solu-ln-pre": dict(act_fn="solu_ln", normalization_type="LNPre", n_layers=1),
    "native-shortformer": dict(act_fn="gelu_new", positional_embedding_type="shortformer"),
    "native-shortformer-attn-only": dict(positional_embedding_type="shortformer", attn_only=True, d_mlp=None, normalization_type=None),
    "native-grokking": dict(act_fn="relu", normalization_type=None, n_layers=1, n_heads=2, d_head=4, d_model=10, d_mlp=14, d_vocab=23, d_vocab_out=22, n_ctx=8),
    "native-tracr": TRACR,
    "native-wide-heads": dict(act_fn="relu", d_head=14, n_heads=2),
    "native-experts": dict(act_fn="silu", normalization_type="RMS", num_experts=3, experts_per_token=2, gated_mlp=True,
                           positional_embedding_type="rotary"),
    "native-experts-renormalised": dict(act_fn="gelu", num_experts=3, experts_per_token=2, norm_topk_prob=True, gated_mlp=True, n_layers=1),
}


def turned(state, layers):
    """A state dict as the old SoLU models were saved: the inverse of `convert_neel_solu_old_weights`."""
    old = {}
    for name, value in state.items():
        leaf = name.rsplit(".", 1)[-1]
        is_turned = layers <= 8 if leaf == "W_pos" else leaf.startswith("W_") and layers <= 6
        name = name.replace("ln_final.", "norm.").replace("ln", "norm")
        old[name] = (value.transpose(-2, -1) if is_turned else value).contiguous()
    return old


def mingpt(state, cfg):
    """A state dict in minGPT's names: the inverse of `convert_mingpt_weights`."""
    old = {"tok_emb.weight": state["embed.W_E"], "pos_emb": state["pos_embed.W_pos"][None], "head.weight": state["unembed.W_U"].T,
           "ln_f.weight": state["ln_final.w"], "ln_f.bias": state["ln_final.b"]}
    for l in range(cfg.n_layers):
        here = f"blocks.{l}."
        for ln in ("ln1", "ln2"):
            old[f"{here}{ln}.weight"], old[f"{here}{ln}.bias"] = state[f"{here}{ln}.w"], state[f"{here}{ln}.b"]
        for name, letter in [("query", "Q"), ("key", "K"), ("value", "V")]:
            old[f"{here}attn.{name}.weight"] = state[f"{here}attn.W_{letter}"].transpose(1, 2).reshape(-1, cfg.d_model)
            old[f"{here}attn.{name}.bias"] = state[f"{here}attn.b_{letter}"].reshape(-1)
        old[f"{here}attn.proj.weight"], old[f"{here}attn.proj.bias"] = state[f"{here}attn.W_O"].reshape(-1, cfg.d_model).T, state[f"{here}attn.b_O"]
        for place, name in [("0", "in"), ("2", "out")]:
            old[f"{here}mlp.{place}.weight"], old[f"{here}mlp.{place}.bias"] = state[f"{here}mlp.W_{name}"].T, state[f"{here}mlp.b_{name}"]
        old[f"{here}attn.mask"] = torch.ones(1, 1, cfg.n_ctx, cfg.n_ctx)
    return {name: value.contiguous() for name, value in old.items()}


COMMON = dict(d_model=18, d_head=6, n_heads=3, n_ctx=16, d_mlp=20, d_vocab=31)
OLD = {
    "old-solu": (dict(COMMON, n_layers=2, act_fn="solu_ln", final_rms=True, attn_only=False, normalization="LN", architecture="neel-solu-old",
                      lr=0.001, batch_size=8), "old"),
    "old-solu-7l": (dict(COMMON, d_model=12, d_head=4, d_mlp=14, n_layers=7, act_fn="solu_ln", attn_only=False, normalization_type="LN",
                         lr_schedule="cosine", weight_decay=0.05, max_tokens=1000), "old"),
    "old-shortformer": (dict(COMMON, n_layers=2, d_mlp=None, act_fn="", attn_only=True, normalization="LN", shortformer_pos=True, lr=0.01), "today"),
    "old-redwood": (dict(COMMON, n_layers=2, d_mlp=-1, act_fn="solu_ln", attn_only=True, normalization_type=None, shortformer_pos=True, seed=3), "today"),
    "old-othello": (dict(COMMON, n_layers=2, d_vocab=61, n_ctx=59, act_fn="gelu", attn_only=False, normalization_type="LN", architecture="mingpt"), "mingpt"),
}


def tl_config(fields):
    """What TransformerLens' `convert_neel_model_config` makes of such a file."""
    kept = {key: fields[key] for key in ("d_model", "n_layers", "d_head", "n_heads", "n_ctx", "d_vocab", "attn_only")}
    kept["d_mlp"] = fields["d_mlp"] if not fields["attn_only"] else None
    kept["act_fn"] = fields["act_fn"] if not fields["attn_only"] else None
    kept["final_rms"] = fields.get("final_rms", False)
    kept["normalization_type"] = fields.get("normalization", fields.get("normalization_type"))
    kept["positional_embedding_type"] = "shortformer" if fields.get("shortformer_pos") else "standard"
    return HookedTransformerConfig(**kept, init_weights=False, device="cpu")


def make_old(name, root, versions, seed, randomise):
    fields, spelling = OLD[name]
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    cfg = tl_config(fields)
    model = HookedTransformer(cfg).eval()
    randomise(model, seed)
    if spelling == "mingpt":
        model.unembed.b_U.data.zero_()
    state = {key: value.detach().clone() for key, value in model.state_dict().items() if not key.endswith((".mask", ".IGNORE"))}
    if spelling == "old":
        saved, again = turned(state, cfg.n_layers), lambda old: convert_neel_solu_old_weights(old, cfg)
    elif spelling == "mingpt":
        saved, again = mingpt(state, cfg), lambda old: convert_mingpt_weights(old, cfg)
    else:
        saved, again = state, lambda old: old
    converted = again(saved)
    for key, value in converted.items():
        if not torch.equal(value, state[key]):
            raise ValueError(f"{name}: TransformerLens reads {key} otherwise")
    save_file(saved, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(fields, indent=1, sort_keys=True) + "\n")
    golden = Golden(folder, {"model": name, "made_with": versions})
    tokens = torch.randint(0, cfg.d_vocab, (2, 7), generator=torch.Generator().manual_seed(3000 + seed))
    logits, recorder = run(model, tokens, strict=True)
    golden.add("base", {"logits": logits, **recorder.values}, tokens=tokens.tolist(), fired=recorder.fired)
    golden.write()
    return logits
