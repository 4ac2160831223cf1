"""The tiny random Hugging Face models of the goldens: what each one is, and how its folder is written.

Every model is made from a config and a seed, has every parameter (biases and norm weights too) drawn at a
scale that gives logits of order 1-10 and attention that is neither uniform nor one-hot, and is saved with
`save_pretrained`. What is run later is what `from_pretrained` reads back from that folder.
"""

import json
import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from . import moe
from .families import FAMILIES

VOCAB = 97


@dataclass
class Spec:
    """One model folder. `batch` is the shape of the base run's tokens; `extras` names groups of further runs."""

    name: str
    family: str
    config: dict
    seed: int
    batch: tuple = (2, 7)
    extras: tuple = ()
    shard_size: str | None = None
    old_spelling: dict | None = None  # rope keys of older config files, at top level
    untied_head: bool = True
    notes: list = field(default_factory=list)


def gpt2(name, seed, *, heads=3, width=6, layers=2, inner=20, positions=24, batch=(2, 7), extras=(), notes=(), **more):
    config = dict(vocab_size=VOCAB, n_positions=positions, n_embd=heads * width, n_layer=layers, n_head=heads,
                  n_inner=inner, bos_token_id=1, eos_token_id=2, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    config.update(more)
    return Spec(name, "gpt2", config, seed, batch, extras, notes=list(notes))


def llama(name, seed, *, heads=3, kv=3, width=6, hidden=18, layers=2, inner=22, positions=24, batch=(2, 7),
          extras=(), theta=10000.0, scaling=None, shard_size=None, old_spelling=None, notes=(), **more):
    rope = {"rope_type": "default", "rope_theta": theta, **(scaling or {})}
    config = dict(vocab_size=VOCAB, max_position_embeddings=positions, hidden_size=hidden, intermediate_size=inner,
                  num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv, head_dim=width,
                  rope_parameters=rope, bos_token_id=1, eos_token_id=2)
    config.update(more)
    return Spec(name, "llama", config, seed, batch, extras, shard_size, old_spelling, notes=list(notes))


def llama_shaped(family, name, seed, *, heads=3, kv=3, hidden=18, layers=2, inner=22, positions=24, batch=(1, 7), rope=None,
                 old_spelling=None, notes=(), **more):
    config = dict(vocab_size=VOCAB, max_position_embeddings=positions, hidden_size=hidden, intermediate_size=inner,
                  num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv,
                  rope_parameters={"rope_type": "default", "rope_theta": 10000.0, **(rope or {})}, bos_token_id=1,
                  eos_token_id=2, pad_token_id=0)
    config.update(more)
    return Spec(name, family, config, seed, batch, old_spelling=old_spelling, notes=list(notes))


def plain(family, name, seed, *, batch=(1, 7), old_spelling=None, notes=(), **config):
    return Spec(name, family, dict(vocab_size=VOCAB, bos_token_id=1, eos_token_id=2, **config), seed, batch,
                old_spelling=old_spelling, notes=list(notes))


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32}
LINEAR = {"rope_type": "linear", "factor": 2.5}
FULL = ("flags", "padding", "loss", "layers", "edits", "generate", "state")

SPECS = [
    gpt2("gpt2-tiny", 11, width=14, layers=3, inner=50, positions=32, batch=(2, 11), extras=FULL,
         notes=["n_inner is not 4 * n_embd"]),
    gpt2("gpt2-inverse-layer", 12, layers=3, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True),
    gpt2("gpt2-gelu", 13, activation_function="gelu"),
    gpt2("gpt2-relu", 14, activation_function="relu"),
    gpt2("gpt2-silu", 15, activation_function="silu"),
    gpt2("gpt2-tanh", 16, activation_function="gelu_pytorch_tanh", n_inner=None,
         notes=["n_inner is null: 4 * n_embd"]),
    gpt2("gpt2-unscaled", 17, scale_attn_weights=False),
    gpt2("gpt2-untied", 18, tie_word_embeddings=False, layer_norm_epsilon=1e-3),
    llama("llama-grouped", 21, heads=6, kv=2, width=14, hidden=36, inner=50, positions=32, batch=(2, 11),
          extras=FULL, theta=500.0, notes=["head_dim is not hidden_size / heads"]),
    llama("llama-full", 22, width=14, hidden=42, inner=50, batch=(2, 11), extras=("flags",), tie_word_embeddings=True),
    llama("llama-multiquery", 23, heads=4, kv=1, width=10, hidden=20, theta=500000.0),
    llama("llama-bias", 24, heads=4, kv=2, width=6, hidden=20, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3,
          notes=["TransformerLens' converter drops attention_bias and its gated MLP has no gate and up biases; the "
                 "biases are put in by goldenmaker/tl_models.py so that the logits are Hugging Face's"]),
    llama("llama-gelu", 25, hidden_act="gelu_pytorch_tanh", tie_word_embeddings=True),
    llama("llama-rope-llama3", 26, width=14, hidden=24, positions=64, scaling=LLAMA3, batch=(1, 13)),
    llama("llama-rope-linear", 27, heads=3, kv=1, width=14, hidden=24, scaling=LINEAR),
    llama("llama-sharded", 28, heads=4, kv=2, width=6, hidden=20, shard_size="12KB"),
    llama("llama-old-linear", 29, width=10, hidden=24, theta=5000.0, scaling=LINEAR,
          old_spelling={"rope_theta": 5000.0, "rope_scaling": {"type": "linear", "factor": 2.5},
                        "torch_dtype": "float32"}),
    llama("llama-old-llama3", 30, width=14, hidden=24, positions=64, theta=10000.0, scaling=LLAMA3, batch=(1, 13),
          old_spelling={"rope_theta": 10000.0, "rope_scaling": dict(LLAMA3), "torch_dtype": "float32"}),
    llama_shaped("qwen2", "qwen2", 101, heads=4, kv=2, hidden=24, layers=3, use_sliding_window=True, sliding_window=3,
                 max_window_layers=1, rms_norm_eps=1e-4, rope={"rope_theta": 1000.0},
                 notes=["layers 1 and 2 see three positions"]),
    llama_shaped("qwen2", "qwen2-tied", 102, kv=1, layers=1, tie_word_embeddings=True),
    llama_shaped("qwen3", "qwen3", 103, heads=4, kv=2, hidden=20, head_dim=10, attention_bias=False,
                 rope={"rope_theta": 1000.0}),
    llama_shaped("qwen3", "qwen3-full", 104, head_dim=6, tie_word_embeddings=True, use_sliding_window=True,
                 sliding_window=3, layer_types=["full_attention", "sliding_attention"]),
    llama_shaped("mistral", "mistral", 105, heads=4, kv=2, hidden=20, head_dim=10, sliding_window=3, rms_norm_eps=1e-5),
    llama_shaped("mistral", "mistral-global", 106, heads=4, kv=2, layers=1, hidden=24, sliding_window=None),
    plain("gpt_neox", "gpt-neox", 107, hidden_size=30, num_hidden_layers=2, num_attention_heads=3, intermediate_size=22,
          max_position_embeddings=24, rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.45},
          notes=["4 of 10 channels turn"]),
    plain("gpt_neox", "gpt-neox-sequential", 108, hidden_size=18, num_hidden_layers=1, num_attention_heads=3,
          intermediate_size=20, max_position_embeddings=24, use_parallel_residual=False, hidden_act="gelu_new",
          attention_bias=True, old_spelling={"rotary_pct": 0.7, "rotary_emb_base": 10000, "torch_dtype": "float32"},
          rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.7}),
    plain("gptj", "gptj", 109, n_embd=30, n_layer=2, n_head=3, n_inner=22, n_positions=24, rotary_dim=6),
    plain("phi", "phi", 110, hidden_size=30, num_hidden_layers=2, num_attention_heads=3, intermediate_size=22,
          max_position_embeddings=24, rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.45}),
    llama_shaped("phi3", "phi3", 111, heads=4, kv=2, hidden=24, rope={"rope_theta": 500.0, "partial_rotary_factor": 1.0}),
    llama_shaped("phi3", "phi3-window", 112, hidden=18, sliding_window=3, tie_word_embeddings=True),
    llama_shaped("gemma", "gemma", 124, heads=4, kv=1, hidden=20, head_dim=6),
    llama_shaped("gemma", "gemma-untied", 125, heads=3, kv=3, layers=1, head_dim=10, hidden_act="gelu", tie_word_embeddings=False),
    llama_shaped("gemma2", "gemma2", 126, heads=4, kv=2, hidden=20, head_dim=6, sliding_window=3, query_pre_attn_scalar=9,
                 attn_logit_softcapping=2.0, final_logit_softcapping=5.0, notes=["layer 0 sees three positions; both caps bite"]),
    llama_shaped("gemma3_text", "gemma3", 127, heads=4, kv=2, hidden=20, head_dim=6, sliding_window=3, query_pre_attn_scalar=9,
                 rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                                  "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 5000.0}},
                 layer_types=["sliding_attention", "full_attention"]),
    llama_shaped("gemma3_text", "gemma3-old", 128, heads=3, kv=1, hidden=18, head_dim=6, sliding_window=3, query_pre_attn_scalar=6,
                 rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
                                  "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0}},
                 sliding_window_pattern=2,
                 old_spelling={"rope_theta": 5000.0, "rope_local_base_freq": 300.0, "sliding_window_pattern": 2, "layer_types": None,
                               "rope_scaling": {"rope_type": "linear", "factor": 4.0}, "torch_dtype": "float32"}),
    llama_shaped("olmo", "olmo", 129),
    llama_shaped("glm4", "glm4", 130, heads=4, kv=2, hidden=20, head_dim=8, attention_bias=True,
                 rope={"rope_theta": 1000.0, "partial_rotary_factor": 0.5}),
    plain("opt", "opt", 113, hidden_size=30, num_hidden_layers=2, num_attention_heads=3, ffn_dim=22, word_embed_proj_dim=30,
          max_position_embeddings=24, dropout=0.0, pad_token_id=0),
    plain("gpt_neo", "gpt-neo", 114, hidden_size=18, num_layers=3, num_heads=3, intermediate_size=20, window_size=3,
          attention_types=[[["global", "local"], 1], [["local"], 1]], max_position_embeddings=24),
    plain("bloom", "bloom", 115, hidden_size=20, n_layer=2, n_head=5, layer_norm_epsilon=1e-4,
          notes=["five heads: slopes are interpolated, which TransformerLens does not do"]),
    plain("gpt_bigcode", "gpt-bigcode", 116, n_embd=30, n_layer=2, n_head=3, n_inner=22, n_positions=24, resid_pdrop=0.0,
          embd_pdrop=0.0, attn_pdrop=0.0),
    plain("gpt_bigcode", "gpt-bigcode-heads", 117, n_embd=18, n_layer=1, n_head=3, n_inner=22, n_positions=24, resid_pdrop=0.0,
          embd_pdrop=0.0, attn_pdrop=0.0, multi_query=False, scale_attn_weights=False),
    llama_shaped("starcoder2", "starcoder2", 118, heads=4, kv=2, hidden=24, sliding_window=3, norm_epsilon=1e-4),
    llama_shaped("stablelm", "stablelm", 119, heads=4, kv=2, hidden=40, layers=1, use_qkv_bias=True, rope={"partial_rotary_factor": 0.4}),
    llama_shaped("stablelm", "stablelm-parallel", 120, hidden=18, layers=1, use_parallel_residual=True,
                 rope={"partial_rotary_factor": 0.34}),
    plain("falcon", "falcon", 121, hidden_size=30, num_hidden_layers=2, num_attention_heads=3, ffn_hidden_size=22,
          max_position_embeddings=24),
    plain("falcon", "falcon-new", 122, hidden_size=24, num_hidden_layers=1, num_attention_heads=4, num_kv_heads=2, bias=True,
          new_decoder_architecture=True, max_position_embeddings=24),
    plain("falcon", "falcon-sequential", 123, hidden_size=18, num_hidden_layers=1, num_attention_heads=3, parallel_attn=False,
          multi_query=False, max_position_embeddings=24, tie_word_embeddings=False),
    *moe.specs(llama_shaped),
]


def randomise(model, seed):
    """Draws every parameter: a matrix with rows that keep the variance of their input, about; norms near 1."""
    generator = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.randn(parameter.shape, generator=generator)
        if "ln_" in name or "norm" in name:
            centre = 0 if "gemma" in model.config.model_type else 1  # kept less one
            value = 0.2 * draw if name.endswith("bias") else centre + 0.3 * draw
        elif name.endswith(("bias", "sinks")):
            value = 0.3 * draw
        elif any(part in name for part in ("wte", "embed_tokens", "embed_in", "word_embeddings")):
            value = 0.5 * draw
        elif "wpe" in name or "embed_positions" in name:
            value = 0.9 * draw
        else:
            fan_in = parameter.shape[0] if model.config.model_type == "gpt2" and "lm_head" not in name else parameter.shape[1]
            fused = ("attn.c_attn", "q_proj", "k_proj", "query_key_value", "qkv_proj")
            gain = 1.4 if any(part in name for part in fused) else 1.0
            value = gain / math.sqrt(fan_in) * draw
            if ("lm_head" in name or "embed_out" in name) and not tied:
                value = 2.5 * value
        if "score" not in name:
            parameter.data.copy_(value)
    model.tie_weights()


def build(spec):
    """The model of a spec, in memory, as yet unsaved."""
    if spec.family == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(**spec.config, attn_implementation="eager"))
    elif spec.family == "llama":
        model = LlamaForCausalLM(LlamaConfig(**spec.config, attn_implementation="eager"))
    else:
        config, kind = FAMILIES[spec.family][:2]
        model = kind(config(**spec.config, attn_implementation="eager"))
    randomise(model, spec.seed)
    moe.prepare(spec, model)
    return model.float().eval()


def save(spec, root: Path):
    """Writes the folder of a spec, emptied first, and returns it."""
    folder = root / spec.name
    shutil.rmtree(folder, ignore_errors=True)
    size = {"max_shard_size": spec.shard_size} if spec.shard_size else {}
    build(spec).save_pretrained(folder, safe_serialization=True, **size)
    if spec.name in moe.REWRITES:
        moe.REWRITES[spec.name](folder)
    if spec.old_spelling:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        config.pop("rope_parameters"), config.pop("dtype", None)
        config.update(spec.old_spelling)
        path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    return folder


def load(spec, folder: Path):
    """The model that `from_pretrained` reads back: the one every golden is made from."""
    kind = {"gpt2": GPT2LMHeadModel, "llama": LlamaForCausalLM}.get(spec.family) or FAMILIES[spec.family][1]
    return kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32, **moe.load_arguments(spec.family)).eval()
