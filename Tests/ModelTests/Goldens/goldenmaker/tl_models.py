"""Hugging Face models as TransformerLens models, without the hub: configs by hand, weights by TL's own converters.

TransformerLens 3.9.0 finds a config by a hub name, takes `d_mlp = 4 * n_embd` for GPT-2 and
`d_head = hidden_size / heads` for LLaMA; the configs here read `n_inner` and `head_dim` instead. Two things it
cannot say are put in, and only for models that need them: the biases of `attention_bias` (its converter writes
zeros) and the gate and up biases of `mlp_bias` (its gated MLP adds one bias after the product).
"""

import types

import torch
import torch.nn.functional as F
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.components.abstract_attention import AbstractAttention
from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights
from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights
from transformers.models.bloom.modeling_bloom import build_alibi_tensor

from . import moe
from .families import FAMILIES


def gpt2_config(hf):
    return dict(
        d_model=hf.n_embd, d_head=hf.n_embd // hf.n_head, n_heads=hf.n_head, n_layers=hf.n_layer,
        d_mlp=hf.n_inner or 4 * hf.n_embd, n_ctx=hf.n_positions, eps=hf.layer_norm_epsilon, d_vocab=hf.vocab_size,
        act_fn=hf.activation_function, use_attn_scale=hf.scale_attn_weights,
        scale_attn_by_inverse_layer_idx=hf.scale_attn_by_inverse_layer_idx, normalization_type="LN",
        positional_embedding_type="standard", original_architecture="GPT2LMHeadModel")


def llama_config(hf):
    rope = hf.rope_parameters
    heads, kv = hf.num_attention_heads, hf.num_key_value_heads
    config = dict(
        d_model=hf.hidden_size, d_head=hf.head_dim, n_heads=heads, n_layers=hf.num_hidden_layers,
        d_mlp=hf.intermediate_size, n_ctx=hf.max_position_embeddings, eps=hf.rms_norm_eps, d_vocab=hf.vocab_size,
        act_fn=hf.hidden_act, n_key_value_heads=kv if kv != heads else None, normalization_type="RMS",
        positional_embedding_type="rotary", rotary_adjacent_pairs=False, rotary_dim=hf.head_dim,
        rotary_base=rope["rope_theta"], final_rms=True, gated_mlp=True, original_architecture="LlamaForCausalLM")
    if rope["rope_type"] == "llama3":
        config.update(
            use_NTK_by_parts_rope=True, NTK_original_ctx_len=rope["original_max_position_embeddings"],
            NTK_by_parts_low_freq_factor=rope["low_freq_factor"],
            NTK_by_parts_high_freq_factor=rope["high_freq_factor"], NTK_by_parts_factor=rope["factor"])
    elif rope["rope_type"] == "linear":
        config.update(rotary_scaling_factor=rope["factor"])
    elif rope["rope_type"] != "default":
        raise ValueError(f"no golden is made for rope type {rope['rope_type']}")
    return config


def to_tl(hf_model, **flags):
    """A TransformerLens model with the weights of `hf_model`, nothing folded, nothing centred."""
    if hf_model.config.model_type in FAMILIES:
        return family_to_tl(hf_model, **flags)
    is_gpt2 = hf_model.config.model_type == "gpt2"
    config = gpt2_config(hf_model.config) if is_gpt2 else llama_config(hf_model.config)
    cfg = HookedTransformerConfig(**config, **flags, init_weights=False, device="cpu")
    convert = convert_gpt2_weights if is_gpt2 else convert_llama_weights
    with torch.no_grad():
        state = {name: value.detach().clone() for name, value in convert(hf_model, cfg).items()}
        if not is_gpt2 and hf_model.config.attention_bias:
            add_attention_biases(hf_model, cfg, state)
    model = HookedTransformer(cfg)
    if not is_gpt2 and hf_model.config.mlp_bias:
        for l, block in enumerate(model.blocks):
            give_mlp_biases(block.mlp, hf_model.model.layers[l].mlp)
            state[f"blocks.{l}.mlp.b_out"] = hf_model.model.layers[l].mlp.down_proj.bias.detach().clone()
    model.load_and_process_state_dict(state, fold_ln=False, center_writing_weights=False, center_unembed=False,
                                      fold_value_biases=False)
    return model.eval()


def family_to_tl(hf_model, **flags):
    config, convert = FAMILIES[hf_model.config.model_type][2:]
    cfg = HookedTransformerConfig(**config(hf_model.config), **flags, init_weights=False, device="cpu")
    model = HookedTransformer(cfg)
    if cfg.num_experts:
        moe.give_parts(model, hf_model)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    with torch.no_grad():
        state = {name: value.detach().clone() for name, value in convert(hf_model, cfg).items()}
    # Some converters write biases for RMS norms, which have none.
    state = {name: value for name, value in state.items() if name in shapes}
    model.load_and_process_state_dict(state, fold_ln=False, center_writing_weights=False, center_unembed=False,
                                      fold_value_biases=False)
    if hf_model.config.model_type == "bloom":
        use_hugging_face_slopes()
    return model.eval()


def use_hugging_face_slopes():
    """ALiBi slopes as Hugging Face has them; TransformerLens takes another rule for heads that are no power of two."""
    def multipliers(n_heads, device=None):
        return build_alibi_tensor(torch.ones(1, 2), n_heads, torch.float32)[:, 0, 1]

    AbstractAttention.create_alibi_multipliers = staticmethod(multipliers)


def add_attention_biases(hf_model, cfg, state):
    """Puts the four biases of `attention_bias` where TransformerLens keeps such biases."""
    under = "" if cfg.n_key_value_heads is None else "_"
    for l, layer in enumerate(hf_model.model.layers):
        attention, prefix = layer.self_attn, f"blocks.{l}.attn."
        state[prefix + "b_Q"] = attention.q_proj.bias.view(-1, cfg.d_head).detach().clone()
        state[prefix + under + "b_K"] = attention.k_proj.bias.view(-1, cfg.d_head).detach().clone()
        state[prefix + under + "b_V"] = attention.v_proj.bias.view(-1, cfg.d_head).detach().clone()
        state[prefix + "b_O"] = attention.o_proj.bias.detach().clone()


def give_mlp_biases(mlp, hf_mlp):
    """Replaces a gated MLP's forward pass: `hook_pre` and `hook_pre_linear` include their own bias, as in
    Hugging Face, and nothing is added after the product."""
    gate_bias, up_bias = hf_mlp.gate_proj.bias.detach().clone(), hf_mlp.up_proj.bias.detach().clone()

    def forward(self, x):
        pre = self.hook_pre(F.linear(x, self.W_gate.T.contiguous(), gate_bias))
        pre_linear = self.hook_pre_linear(F.linear(x, self.W_in.T.contiguous(), up_bias))
        post = self.hook_post(self.act_fn(pre) * pre_linear)
        return F.linear(post, self.W_out.T.contiguous(), self.b_out)

    mlp.forward = types.MethodType(forward, mlp)
