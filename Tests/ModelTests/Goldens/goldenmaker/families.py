"""Families beyond GPT-2 and LLaMA: their Hugging Face classes, and the same models in TransformerLens.

Each entry of FAMILIES is (config class, model class, TransformerLens config by hand, TransformerLens' own weight
converter). The configs say what TransformerLens 3.9.0's `convert_hf_model_config` says, but take sizes it guesses
(`d_head`, `d_mlp`, `n_ctx`) and constants it fixes (`eps`) from the Hugging Face config.
"""

from importlib import import_module

import transformers


def rope_fields(hf, width):
    rope = hf.rope_parameters
    if rope["rope_type"] != "default":
        raise ValueError(f"no golden is made for rope type {rope['rope_type']}")
    return dict(positional_embedding_type="rotary", rotary_adjacent_pairs=False, rotary_base=rope["rope_theta"],
                rotary_dim=int(width * rope.get("partial_rotary_factor", 1.0)))


def local_fields(window, layers):
    """`layers`: whether each layer is windowed."""
    if not any(layers):
        return {}
    return dict(use_local_attn=True, window_size=window, attn_types=["local" if local else "global" for local in layers])


def common(hf, **more):
    heads = hf.num_attention_heads
    fields = dict(d_model=hf.hidden_size, n_heads=heads, n_layers=hf.num_hidden_layers, d_vocab=hf.vocab_size,
                  d_head=getattr(hf, "head_dim", None) or hf.hidden_size // heads,
                  n_ctx=hf.max_position_embeddings, original_architecture=type(hf).__name__.replace("Config", "ForCausalLM"))
    return {**fields, **more}


def llama_shaped(hf, always_grouped=False, **more):
    fields = common(hf, d_mlp=hf.intermediate_size, eps=hf.rms_norm_eps, act_fn=hf.hidden_act, normalization_type="RMS",
                    final_rms=True, gated_mlp=True, **more)
    kv = hf.num_key_value_heads
    fields["n_key_value_heads"] = kv if always_grouped or kv != hf.num_attention_heads else None
    return {**fields, **rope_fields(hf, fields["d_head"])}


def qwen(hf, **more):
    local = [kind == "sliding_attention" for kind in hf.layer_types]
    return llama_shaped(hf, **local_fields(hf.sliding_window, local), **more)


def windowed(hf, **more):
    return llama_shaped(hf, **local_fields(hf.sliding_window, [bool(hf.sliding_window)] * hf.num_hidden_layers), **more)


def neox(hf):
    fields = common(hf, d_mlp=hf.intermediate_size, eps=hf.layer_norm_eps, act_fn=hf.hidden_act, normalization_type="LN",
                    parallel_attn_mlp=hf.use_parallel_residual)
    return {**fields, **rope_fields(hf, fields["d_head"])}


def gptj(hf):
    return common(hf, d_mlp=hf.n_inner or 4 * hf.n_embd, eps=hf.layer_norm_epsilon, act_fn=hf.activation_function,
                  normalization_type="LN", parallel_attn_mlp=True, positional_embedding_type="rotary",
                  rotary_dim=hf.rotary_dim, rotary_adjacent_pairs=True)


def phi(hf):
    fields = common(hf, d_mlp=hf.intermediate_size, eps=hf.layer_norm_eps, act_fn=hf.hidden_act, normalization_type="LN",
                    parallel_attn_mlp=True)
    return {**fields, **rope_fields(hf, fields["d_head"])}


def family(name, config, converter=None):
    """`name`: the start of the Hugging Face classes' names."""
    convert = None
    if converter:
        module = import_module(f"transformer_lens.pretrained.weight_conversions.{converter}")
        convert = getattr(module, f"convert_{converter}_weights")
    return getattr(transformers, f"{name}Config"), getattr(transformers, f"{name}ForCausalLM"), config, convert


FAMILIES = {
    "qwen2": family("Qwen2", lambda hf: qwen(hf, always_grouped=True), "qwen2"),
    "qwen3": family("Qwen3", lambda hf: qwen(hf, use_qk_norm=True), "qwen3"),
    "mistral": family("Mistral", lambda hf: windowed(hf, always_grouped=True), "mistral"),
    "gpt_neox": family("GPTNeoX", neox, "neox"),
    "gptj": family("GPTJ", gptj, "gptj"),
    "phi": family("Phi", phi, "phi"),
    "phi3": family("Phi3", windowed, "phi3"),
}
