"""Mixtures of experts: their tiny models, and the same models in TransformerLens.

TransformerLens 3.9.0 has Mixtral's, OLMoE's and GPT-OSS's experts. What it lacks is put in by hand, as data of the modules it
has: layers without experts, an expert of every token with its sigmoid gate (Qwen-MoE, hooks named like the others'), experts of a
width of their own.
"""

import types

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from transformer_lens.components.mlps.gated_mlp import GatedMLP
from transformer_lens.components.mlps.moe import MoE, MoEGatedMLP
from transformer_lens.pretrained.weight_conversions.mixtral import convert_mixtral_weights
from transformer_lens.pretrained.weight_conversions.olmoe import convert_olmoe_weights
from transformer_lens.pretrained.weight_conversions.openai import convert_gpt_oss_weights

from . import own_weights


def load_arguments(hf_family):
    """What `from_pretrained` is told besides: experts one by one, whatever their sizes."""
    return {"experts_implementation": "eager"} if hf_family in ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "granitemoe") else {}


def expert_fields(hf):
    count = getattr(hf, "num_local_experts", None) or hf.num_experts
    return dict(num_experts=count, experts_per_token=hf.num_experts_per_tok,
                norm_topk_prob=getattr(hf, "norm_topk_prob", hf.model_type == "mixtral"))


def is_sparse(hf, layer):
    return layer not in (getattr(hf, "mlp_only_layers", None) or []) and (layer + 1) % getattr(hf, "decoder_sparse_step", 1) == 0


def attention(hf_model, cfg, state):
    """Everything but the MLPs of a model of LLaMA's shape."""
    body = hf_model.model
    state.update({"embed.W_E": body.embed_tokens.weight, "unembed.W_U": hf_model.lm_head.weight.T})
    own_weights.norms(state, {"ln_final": body.norm})
    for l, layer in enumerate(body.layers):
        prefix, heads = f"blocks.{l}.", layer.self_attn
        own_weights.norms(state, {prefix + "ln1": layer.input_layernorm, prefix + "ln2": layer.post_attention_layernorm})
        own_weights.head_weights(state, cfg, prefix, own_weights.pair(heads.q_proj), own_weights.pair(heads.k_proj),
                                 own_weights.pair(heads.v_proj))
        own_weights.output(state, cfg, prefix, heads.o_proj)
        if hasattr(heads, "q_norm"):
            own_weights.norms(state, {prefix + "attn.q_norm": heads.q_norm, prefix + "attn.k_norm": heads.k_norm})


def experts(state, prefix, mlp):
    width = mlp.experts.down_proj.shape[2]
    router = getattr(mlp, "gate", None) or mlp.router
    state[f"{prefix}mlp.W_gate.weight"] = router.weight
    for e in range(len(mlp.experts.gate_up_proj)):
        name, gate_up = f"{prefix}mlp.experts.{e}.", mlp.experts.gate_up_proj[e]
        state[name + "W_gate.weight"], state[name + "W_in.weight"] = gate_up[:width], gate_up[width:]
        state[name + "W_out.weight"] = mlp.experts.down_proj[e]


def qwen_moe(hf_model, cfg):
    state = {}
    attention(hf_model, cfg, state)
    for l, layer in enumerate(hf_model.model.layers):
        prefix, mlp = f"blocks.{l}.", layer.mlp
        if not is_sparse(hf_model.config, l):
            for ours, theirs in [("W_gate", mlp.gate_proj), ("W_in", mlp.up_proj), ("W_out", mlp.down_proj)]:
                state[f"{prefix}mlp.{ours}"] = theirs.weight.T
            continue
        experts(state, prefix, mlp)
        if hasattr(mlp, "shared_expert"):
            for ours, theirs in [("W_gate", "gate_proj"), ("W_in", "up_proj"), ("W_out", "down_proj")]:
                state[f"{prefix}mlp.shared_expert.{ours}.weight"] = getattr(mlp.shared_expert, theirs).weight
            state[f"{prefix}mlp.shared_expert_gate.weight"] = mlp.shared_expert_gate.weight
    return state


def of_width(cfg, width):
    changed = type(cfg).from_dict(cfg.to_dict())
    changed.d_mlp = width
    return changed


def give_parts(model, hf_model):
    """Puts what TransformerLens' block cannot be told into a model before its weights and hooks are set up."""
    hf = hf_model.config
    width = getattr(hf, "moe_intermediate_size", None)
    for l, block in enumerate(model.blocks):
        if not is_sparse(hf, l):
            cfg = of_width(model.cfg, hf.intermediate_size)
            cfg.num_experts = cfg.experts_per_token = None
            block.mlp = GatedMLP(cfg)
        elif isinstance(block.mlp, MoE):
            if width:
                block.mlp.experts = nn.ModuleList([MoEGatedMLP(of_width(model.cfg, width)) for _ in block.mlp.experts])
            if getattr(hf, "shared_expert_intermediate_size", None):
                give_shared_expert(block.mlp, of_width(model.cfg, hf.shared_expert_intermediate_size))
    model.setup()


def give_shared_expert(mlp, cfg):
    mlp.shared_expert = MoEGatedMLP(cfg)
    mlp.shared_expert_gate = nn.Linear(cfg.d_model, 1, bias=False)
    without = mlp.forward

    def forward(self, x):
        return without(x) + F.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)

    mlp.forward = types.MethodType(forward, mlp)


def converter(name):
    return {"mixtral": convert_mixtral_weights, "olmoe": convert_olmoe_weights, "gpt_oss": convert_gpt_oss_weights}.get(name, qwen_moe)


def in_order_of_position(recorder, name, tensor):
    """An expert's rows as the project orders them: by position. TransformerLens orders them by choice, then position."""
    prefix, rest = name.split("experts.")
    expert = int(rest.split(".")[0])
    indices = recorder.values[prefix + "hook_expert_indices"].reshape(-1, recorder.values[prefix + "hook_expert_indices"].shape[-1])
    choice, position = torch.where(F.one_hot(indices.long(), num_classes=expert + 1 + int(indices.max())).permute(2, 1, 0)[expert])
    return tensor[torch.argsort(position, stable=True)]


def normalised(recorder, name, tensor):
    """An activation of experts as the project keeps it: batch and position apart, indices as numbers."""
    if ".experts." in name:
        return in_order_of_position(recorder, name, tensor)
    if name.endswith(("hook_expert_weights", "hook_expert_indices")):
        shape = recorder.values[name.split("mlp.")[0] + "hook_resid_mid"].shape
        return tensor.reshape(*shape[:2], -1).float()
    return tensor


def fuse(folder):
    """Rewrites a folder's experts as transformers 5 holds them in memory: all of a layer's in two tensors."""
    path = folder / "model.safetensors"
    state, fused = load_file(path), {}
    for name in sorted(state):
        if ".experts.0.w1." not in name:
            continue
        prefix = name.split("block_sparse_moe.")[0]
        each = lambda part: torch.stack([state.pop(f"{prefix}block_sparse_moe.experts.{e}.{part}.weight") for e in range(count(state, prefix, part))])
        gate, up, down = each("w1"), each("w3"), each("w2")
        fused[prefix + "mlp.experts.gate_up_proj"], fused[prefix + "mlp.experts.down_proj"] = torch.cat([gate, up], dim=1), down
        fused[prefix + "mlp.gate.weight"] = state.pop(prefix + "block_sparse_moe.gate.weight")
    save_file({**state, **fused}, path, metadata={"format": "pt"})


def count(state, prefix, part):
    return sum(name.startswith(f"{prefix}block_sparse_moe.experts.") and name.endswith(f".{part}.weight") for name in state)


REWRITES = {"mixtral-fused": fuse}


def specs(llama_shaped):
    """The models; `llama_shaped` makes a Spec."""
    return [
        llama_shaped("mixtral", "mixtral", 201, heads=4, kv=2, hidden=24, inner=14, num_local_experts=5, num_experts_per_tok=2,
                     batch=(2, 7), rope={"rope_theta": 1000.0}, notes=["a tensor for each expert, as the hub's files have it"]),
        llama_shaped("mixtral", "mixtral-fused", 202, heads=3, kv=3, layers=1, hidden=18, inner=10, num_local_experts=3,
                     num_experts_per_tok=1, sliding_window=3, batch=(2, 7), notes=["all experts in one tensor; one expert for each token"]),
        llama_shaped("qwen2_moe", "qwen2-moe", 203, heads=4, kv=2, hidden=24, layers=4, inner=22, moe_intermediate_size=14,
                     shared_expert_intermediate_size=18, num_experts=5, num_experts_per_tok=2, norm_topk_prob=False,
                     decoder_sparse_step=2, mlp_only_layers=[3], batch=(2, 7),
                     notes=["layer 1 alone has experts"]),
        llama_shaped("qwen2_moe", "qwen2-moe-renormalised", 204, heads=3, kv=3, hidden=18, layers=2, inner=22, moe_intermediate_size=10,
                     shared_expert_intermediate_size=6, num_experts=4, num_experts_per_tok=3, norm_topk_prob=True, qkv_bias=False,
                     use_sliding_window=True, sliding_window=3, max_window_layers=1, tie_word_embeddings=True, batch=(2, 7)),
        llama_shaped("qwen3_moe", "qwen3-moe", 205, heads=4, kv=2, hidden=20, head_dim=6, layers=2, inner=22, moe_intermediate_size=14,
                     num_experts=4, num_experts_per_tok=2, norm_topk_prob=True, mlp_only_layers=[0], attention_bias=True, batch=(2, 7)),
    ]
