"""Mixtures of experts: their tiny models, and the same models in TransformerLens.

TransformerLens 3.9.0 has Mixtral's, OLMoE's and GPT-OSS's experts. What it lacks is put in by hand, as data of the modules it
has: layers without experts, an expert of every token with its sigmoid gate (Qwen-MoE, hooks named like the others'), experts of a
width of their own.
"""

import json
import math
import types

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from transformer_lens.components.mlps.gated_mlp import GatedMLP
from transformer_lens.components.mlps.moe import MoE, MoEGatedMLP
from transformer_lens.pretrained.weight_conversions.openai import convert_gpt_oss_weights

from transformers.integrations.mxfp4 import convert_moe_packed_tensors

from . import own_weights


def load_arguments(hf_family):
    """What `from_pretrained` is told besides: experts one by one, whatever their sizes."""
    return {"experts_implementation": "eager"} if hf_family in ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "granitemoe") else {}


def expert_fields(hf):
    count = getattr(hf, "num_local_experts", None) or hf.num_experts
    return dict(num_experts=count, experts_per_token=hf.num_experts_per_tok,
                norm_topk_prob=getattr(hf, "norm_topk_prob", hf.model_type in ("mixtral", "granitemoe")))


def gpt_oss_fields(hf, llama_shaped, local_fields):
    rope = hf.rope_parameters
    yarn = dict(use_yarn_rope=True, yarn_factor=rope["factor"], yarn_attention_factor=0.1 * math.log(rope["factor"]) + 1,
                yarn_beta_fast=rope["beta_fast"], yarn_beta_slow=rope["beta_slow"], yarn_truncate=rope["truncate"],
                yarn_original_max_position_embeddings=rope["original_max_position_embeddings"])
    hf.rope_parameters = {"rope_type": "default", "rope_theta": rope["rope_theta"]}
    fields = llama_shaped(hf, always_grouped=True, use_attention_sinks=True, **expert_fields(hf),
                          **local_fields(hf.sliding_window, [kind == "sliding_attention" for kind in hf.layer_types]))
    hf.rope_parameters = rope
    fields.pop("norm_topk_prob")
    return {**fields, **yarn}


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


def granite_moe(hf_model, cfg):
    state = {}
    attention(hf_model, cfg, state)
    for l, layer in enumerate(hf_model.model.layers):
        experts(state, f"blocks.{l}.", layer.block_sparse_moe)
        # What writes to the residual stream takes the factor on what is written.
        for name in [f"blocks.{l}.attn.W_O", f"blocks.{l}.attn.b_O"]:
            if name in state:
                state[name] = state[name] * hf_model.config.residual_multiplier
        for e in range(cfg.num_experts):
            state[f"blocks.{l}.mlp.experts.{e}.W_out.weight"] = state[f"blocks.{l}.mlp.experts.{e}.W_out.weight"] * hf_model.config.residual_multiplier
    state["embed.W_E"] = state["embed.W_E"] * hf_model.config.embedding_multiplier
    state["ln_final.w"] = state["ln_final.w"] / hf_model.config.logits_scaling
    return state


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

FP4 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0])


def on_grid(weight):
    """MXFP4 of `weight` `[experts, in, out]`, along its inputs: (codes `[experts, out, in / 32, 32]`, scales, the numbers)."""
    blocks = weight.transpose(1, 2).reshape(len(weight), weight.shape[2], -1, 32)
    scales = torch.floor(torch.log2(blocks.abs().amax(-1) / 4)).clamp(-127, 127)
    codes = (blocks.unsqueeze(-1) / torch.exp2(scales)[..., None, None] - FP4).abs().argmin(-1)
    numbers = (FP4[codes] * torch.exp2(scales)[..., None]).reshape(len(weight), weight.shape[2], -1).transpose(1, 2)
    return codes.to(torch.uint8), (scales + 127).to(torch.uint8), numbers


def prepare(spec, model):
    """Puts expert weights where 4-bit floats are, in the model that will be packed."""
    if spec.name == "gpt-oss-mxfp4":
        for name, parameter in model.named_parameters():
            if name.endswith(("gate_up_proj", "down_proj")):
                parameter.data.copy_(on_grid(parameter.data)[2])


def pack(folder):
    """Packs the experts of a folder as MXFP4, and checks with Hugging Face's own unpacking that nothing is lost."""
    path = folder / "model.safetensors"
    state = load_file(path)
    for name in [name for name in state if name.endswith(("gate_up_proj", "down_proj"))]:
        weight = state.pop(name)
        codes, scales, _ = on_grid(weight)
        blocks = codes[..., 0::2] | (codes[..., 1::2] << 4)
        unpacked = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
        if not torch.equal(unpacked, weight):
            raise ValueError(f"{name} is not on the grid of MXFP4")
        state[name + "_blocks"], state[name + "_scales"] = blocks.contiguous(), scales.contiguous()
    save_file(state, path, metadata={"format": "pt"})
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] = {"modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens",
                                                                "lm_head"], "quant_method": "mxfp4"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


AFTERWARDS = {"gpt-oss-mxfp4": pack}


def specs(llama_shaped):
    """The models; `llama_shaped` makes a Spec."""
    gpt_oss = dict(heads=4, kv=2, hidden=32, inner=32, head_dim=6, num_local_experts=3, num_experts_per_tok=2, sliding_window=3,
                   rope={"rope_type": "yarn", "rope_theta": 1500.0, "factor": 8.0, "beta_fast": 4.0, "beta_slow": 1.0, "truncate": False,
                         "original_max_position_embeddings": 16}, positions=48, batch=(2, 7))
    return [
        llama_shaped("mixtral", "mixtral", 201, heads=4, kv=2, hidden=24, inner=14, num_local_experts=5, num_experts_per_tok=2,
                     batch=(2, 7), rope={"rope_theta": 1000.0}, notes=["a tensor for each expert, as the hub's files have it"]),
        llama_shaped("mixtral", "mixtral-fused", 202, heads=3, kv=3, layers=1, hidden=18, inner=10, num_local_experts=3,
                     num_experts_per_tok=1, sliding_window=3, batch=(2, 7), notes=["all experts in one tensor; one expert for each token"]),
        llama_shaped("qwen2_moe", "qwen2-moe", 203, heads=4, kv=2, hidden=24, layers=4, inner=22, moe_intermediate_size=14,
                     shared_expert_intermediate_size=18, num_experts=5, num_experts_per_tok=2, norm_topk_prob=False,
                     decoder_sparse_step=2, mlp_only_layers=[3], notes=["layer 1 alone has experts"]),
        llama_shaped("qwen2_moe", "qwen2-moe-renormalised", 204, heads=3, kv=3, hidden=18, layers=1, inner=22, moe_intermediate_size=10,
                     shared_expert_intermediate_size=6, num_experts=3, num_experts_per_tok=2, norm_topk_prob=True, qkv_bias=False,
                     use_sliding_window=True, sliding_window=3, max_window_layers=1, tie_word_embeddings=True, batch=(2, 7)),
        llama_shaped("qwen3_moe", "qwen3-moe", 205, heads=4, kv=2, hidden=20, head_dim=6, layers=2, inner=22, moe_intermediate_size=14,
                     num_experts=3, num_experts_per_tok=2, norm_topk_prob=True, mlp_only_layers=[0], attention_bias=True, batch=(2, 7)),
        llama_shaped("qwen3_moe", "qwen3-moe-window", 206, heads=3, kv=1, hidden=18, head_dim=10, layers=1, moe_intermediate_size=6,
                     num_experts=4, num_experts_per_tok=1, norm_topk_prob=False, use_sliding_window=True, sliding_window=3),
        llama_shaped("olmoe", "olmoe", 207, heads=4, kv=2, hidden=24, inner=14, num_experts=4, num_experts_per_tok=3,
                     norm_topk_prob=False, clip_qkv=1.0, rms_norm_eps=1e-4, notes=["the clip bites"]),
        llama_shaped("olmoe", "olmoe-full", 208, heads=3, kv=3, layers=1, hidden=18, inner=10, num_experts=3, num_experts_per_tok=1,
                     norm_topk_prob=True, attention_bias=True),
        llama_shaped("granitemoe", "granite-moe", 209, heads=4, kv=2, hidden=24, inner=14, num_local_experts=4, num_experts_per_tok=2,
                     embedding_multiplier=1.5, residual_multiplier=0.7, attention_multiplier=0.3, logits_scaling=2.0),
        llama_shaped("gpt_oss", "gpt-oss", 210, **gpt_oss, notes=["a sink for each head; layer 0 sees three positions; YaRN; clamped gates"]),
        llama_shaped("gpt_oss", "gpt-oss-mxfp4", 211, **{**gpt_oss, "hidden": 32, "layers": 1, "inner": 64, "num_experts_per_tok": 1},
                     notes=["expert weights on the grid of MXFP4; after the runs the folder's are packed so"]),
    ]
