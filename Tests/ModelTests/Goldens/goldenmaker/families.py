"""Families beyond GPT-2 and LLaMA: their Hugging Face classes, and the same models in TransformerLens.

Each entry of FAMILIES is (config class, model class, TransformerLens config by hand, TransformerLens' own weight
converter). The configs say what TransformerLens 3.9.0's `convert_hf_model_config` says, but take sizes it guesses
(`d_head`, `d_mlp`, `n_ctx`) and constants it fixes (`eps`) from the Hugging Face config.
"""

from importlib import import_module

import transformers

from . import moe, own_weights


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


def gemma(hf, **more):
    """Scores are scaled by `query_pre_attn_scalar` where there is one; Gemma 3 has a rotation for each kind of layer."""
    scale = getattr(hf, "query_pre_attn_scalar", None) or hf.head_dim
    ropes = hf.rope_parameters
    fields = common(hf, d_mlp=hf.intermediate_size, eps=hf.rms_norm_eps, normalization_type="RMS", final_rms=True,
                    gated_mlp=True, n_key_value_heads=hf.num_key_value_heads, attn_scale=scale ** 0.5,
                    act_fn="gelu_pytorch_tanh", positional_embedding_type="rotary", rotary_dim=hf.head_dim)
    full = ropes.get("full_attention", ropes)
    fields.update(rotary_base=full["rope_theta"])
    if full["rope_type"] == "linear":
        fields.update(rotary_scaling_factor=full["factor"])
    if "sliding_attention" in ropes:
        fields.update(rotary_base_local=ropes["sliding_attention"]["rope_theta"])
    if hasattr(hf, "layer_types"):
        fields.update(use_normalization_before_and_after=True, attn_scores_soft_cap=hf.attn_logit_softcapping or -1.0,
                      output_logits_soft_cap=hf.final_logit_softcapping or -1.0,
                      **local_fields(hf.sliding_window, [kind == "sliding_attention" for kind in hf.layer_types]))
    return {**fields, **more}


def olmo(hf):
    fields = common(hf, d_mlp=hf.intermediate_size, eps=1e-5, act_fn=hf.hidden_act, normalization_type="LNPre", gated_mlp=True)
    return {**fields, **rope_fields(hf, fields["d_head"])}


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


def learned(hf, **more):
    return common(hf, eps=getattr(hf, "layer_norm_epsilon", 1e-5), act_fn=hf.activation_function, normalization_type="LN", **more)


def neo(hf):
    return learned(hf, d_mlp=hf.intermediate_size or 4 * hf.hidden_size, use_attn_scale=False,
                   **local_fields(hf.window_size, [kind == "local" for kind in hf.attention_layers]))


def bloom(hf):
    heads = hf.n_head
    return dict(d_model=hf.hidden_size, n_heads=heads, d_head=hf.hidden_size // heads, n_layers=hf.n_layer, n_ctx=32,
                d_mlp=4 * hf.hidden_size, d_vocab=hf.vocab_size, act_fn="gelu_fast", eps=hf.layer_norm_epsilon,
                normalization_type="LN", post_embedding_ln=True, positional_embedding_type="alibi",
                original_architecture="BloomForCausalLM")


def big_code(hf):
    return learned(hf, d_mlp=hf.n_inner or 4 * hf.n_embd, use_attn_scale=hf.scale_attn_weights,
                   n_key_value_heads=1 if hf.multi_query else None)


def starcoder2(hf):
    kv = hf.num_key_value_heads
    fields = common(hf, d_mlp=hf.intermediate_size, eps=hf.norm_epsilon, act_fn=hf.hidden_act, normalization_type="LN",
                    n_key_value_heads=kv if kv != hf.num_attention_heads else None,
                    **local_fields(hf.sliding_window, [bool(hf.sliding_window)] * hf.num_hidden_layers))
    return {**fields, **rope_fields(hf, fields["d_head"])}


def stablelm(hf):
    kv = hf.num_key_value_heads
    fields = common(hf, d_mlp=hf.intermediate_size, eps=hf.layer_norm_eps, act_fn=hf.hidden_act, normalization_type="LN",
                    gated_mlp=True, parallel_attn_mlp=hf.use_parallel_residual,
                    n_key_value_heads=kv if kv != hf.num_attention_heads else None)
    return {**fields, **rope_fields(hf, fields["d_head"])}


def falcon(hf):
    kv = hf.num_kv_heads if hf.new_decoder_architecture or not hf.multi_query else 1
    fields = common(hf, d_mlp=hf.ffn_hidden_size, eps=hf.layer_norm_epsilon, act_fn=hf.activation, normalization_type="LN",
                    parallel_attn_mlp=hf.parallel_attn, n_key_value_heads=kv if kv != hf.num_attention_heads else None)
    return {**fields, **rope_fields(hf, fields["d_head"])}


def family(name, config, converter):
    """`name`: the start of the Hugging Face classes' names; `converter`: of TransformerLens' module, or a function."""
    convert = converter
    if isinstance(converter, str):
        module = import_module(f"transformer_lens.pretrained.weight_conversions.{converter}")
        convert = getattr(module, f"convert_{converter}_weights")
    config_class = getattr(transformers, f"{name}TextConfig", None) or getattr(transformers, f"{name}Config")
    return config_class, getattr(transformers, f"{name}ForCausalLM"), config, convert


FAMILIES = {
    "qwen2": family("Qwen2", lambda hf: qwen(hf, always_grouped=True), "qwen2"),
    "qwen3": family("Qwen3", lambda hf: qwen(hf, use_qk_norm=True), "qwen3"),
    "mistral": family("Mistral", lambda hf: windowed(hf, always_grouped=True), "mistral"),
    "gpt_neox": family("GPTNeoX", neox, "neox"),
    "gptj": family("GPTJ", gptj, "gptj"),
    "phi": family("Phi", phi, "phi"),
    "phi3": family("Phi3", windowed, "phi3"),
    "gemma": family("Gemma", gemma, "gemma"),
    "gemma2": family("Gemma2", gemma, "gemma"),
    "gemma3_text": family("Gemma3", lambda hf: gemma(hf, use_qk_norm=True), "gemma"),
    "olmo": family("Olmo", olmo, "olmo"),
    "glm4": family("Glm4", lambda hf: {**llama_shaped(hf, use_normalization_before_and_after=True), "rotary_adjacent_pairs": True},
                   own_weights.glm4),
    "opt": family("OPT", lambda hf: learned(hf, d_mlp=hf.ffn_dim), "opt"),
    "gpt_neo": family("GPTNeo", neo, "neo"),
    "bloom": family("Bloom", bloom, "bloom"),
    "gpt_bigcode": family("GPTBigCode", big_code, own_weights.big_code),
    "starcoder2": family("Starcoder2", starcoder2, own_weights.starcoder2),
    "stablelm": family("StableLm", stablelm, own_weights.stablelm),
    "falcon": family("Falcon", falcon, own_weights.falcon),
    "mixtral": family("Mixtral", lambda hf: windowed(hf, always_grouped=True, **moe.expert_fields(hf)), "mixtral"),
    "qwen2_moe": family("Qwen2Moe", lambda hf: qwen(hf, **moe.expert_fields(hf)), moe.qwen_moe),
    "olmoe": family("Olmoe", lambda hf: llama_shaped(hf, always_grouped=True, clip_qkv=hf.clip_qkv, **moe.expert_fields(hf)), moe.qwen_moe),
    "granitemoe": family("GraniteMoe", lambda hf: llama_shaped(hf, attn_scale=1 / hf.attention_multiplier, **moe.expert_fields(hf)), moe.granite_moe),
    "gpt_oss": family("GptOss", lambda hf: moe.gpt_oss_fields(hf, llama_shaped, local_fields), moe.convert_gpt_oss_weights),
    "qwen3_moe": family("Qwen3Moe", lambda hf: windowed(hf, use_qk_norm=True, **moe.expert_fields(hf)), moe.qwen_moe),
}
