"""Weights of families that TransformerLens 3.9.0 has no converter for, under its names.

Each function takes the Hugging Face model and the TransformerLens config; what it leaves out is zero.
"""

from einops import rearrange


def norms(state, names):
    """`names`: parameter prefix in TransformerLens -> module."""
    for name, module in names.items():
        state[f"{name}.w"] = module.weight
        if getattr(module, "bias", None) is not None:
            state[f"{name}.b"] = module.bias


def linear(state, name, module, bias):
    state[name] = module.weight.T
    if module.bias is not None:
        state[bias] = module.bias


def head_weights(state, cfg, prefix, q, k, v):
    """`q`, `k`, `v`: (weight [out, in], bias [out] or None)."""
    kv = cfg.n_key_value_heads
    for letter, (weight, bias), heads in [("Q", q, cfg.n_heads), ("K", k, kv or cfg.n_heads), ("V", v, kv or cfg.n_heads)]:
        under = "_" if kv is not None and letter != "Q" else ""
        state[f"{prefix}attn.{under}W_{letter}"] = rearrange(weight, "(n h) m -> n m h", n=heads)
        if bias is not None:
            state[f"{prefix}attn.{under}b_{letter}"] = rearrange(bias, "(n h) -> n h", n=heads)


def output(state, cfg, prefix, module):
    state[f"{prefix}attn.W_O"] = rearrange(module.weight, "m (n h) -> n h m", n=cfg.n_heads)
    if module.bias is not None:
        state[f"{prefix}attn.b_O"] = module.bias


def pair(module):
    return module.weight, module.bias


def plain_mlp(state, prefix, first, second):
    linear(state, f"{prefix}mlp.W_in", first, f"{prefix}mlp.b_in")
    linear(state, f"{prefix}mlp.W_out", second, f"{prefix}mlp.b_out")


def big_code(hf, cfg):
    body = hf.transformer
    state = {"embed.W_E": body.wte.weight, "pos_embed.W_pos": body.wpe.weight, "unembed.W_U": hf.lm_head.weight.T}
    norms(state, {"ln_final": body.ln_f})
    for l, layer in enumerate(body.h):
        prefix = f"blocks.{l}."
        norms(state, {prefix + "ln1": layer.ln_1, prefix + "ln2": layer.ln_2})
        weight, bias = pair(layer.attn.c_attn)
        if cfg.n_key_value_heads is None:
            parts = [(rearrange(weight, "(n s h) m -> s (n h) m", n=cfg.n_heads, s=3)[i],
                      rearrange(bias, "(n s h) -> s (n h)", n=cfg.n_heads, s=3)[i]) for i in range(3)]
        else:
            sizes = [cfg.d_model, cfg.d_head, cfg.d_head]
            parts = list(zip(weight.split(sizes), bias.split(sizes)))
        head_weights(state, cfg, prefix, *parts)
        output(state, cfg, prefix, layer.attn.c_proj)
        plain_mlp(state, prefix, layer.mlp.c_fc, layer.mlp.c_proj)
    return state


def starcoder2(hf, cfg):
    body = hf.model
    state = {"embed.W_E": body.embed_tokens.weight, "unembed.W_U": hf.lm_head.weight.T}
    norms(state, {"ln_final": body.norm})
    for l, layer in enumerate(body.layers):
        prefix, attention = f"blocks.{l}.", layer.self_attn
        norms(state, {prefix + "ln1": layer.input_layernorm, prefix + "ln2": layer.post_attention_layernorm})
        head_weights(state, cfg, prefix, pair(attention.q_proj), pair(attention.k_proj), pair(attention.v_proj))
        output(state, cfg, prefix, attention.o_proj)
        plain_mlp(state, prefix, layer.mlp.c_fc, layer.mlp.c_proj)
    return state


def stablelm(hf, cfg):
    body = hf.model
    state = {"embed.W_E": body.embed_tokens.weight, "unembed.W_U": hf.lm_head.weight.T}
    norms(state, {"ln_final": body.norm})
    for l, layer in enumerate(body.layers):
        prefix, attention, mlp = f"blocks.{l}.", layer.self_attn, layer.mlp
        norms(state, {prefix + "ln1": layer.input_layernorm,
                             prefix + "ln2": layer.post_attention_layernorm or layer.input_layernorm})
        head_weights(state, cfg, prefix, pair(attention.q_proj), pair(attention.k_proj), pair(attention.v_proj))
        output(state, cfg, prefix, attention.o_proj)
        for name, module in [("gate", mlp.gate_proj), ("in", mlp.up_proj), ("out", mlp.down_proj)]:
            state[f"{prefix}mlp.W_{name}"] = module.weight.T
    return state


def falcon(hf, cfg):
    body, groups = hf.transformer, cfg.n_key_value_heads or cfg.n_heads
    state = {"embed.W_E": body.word_embeddings.weight, "unembed.W_U": hf.lm_head.weight.T}
    norms(state, {"ln_final": body.ln_f})
    for l, layer in enumerate(body.h):
        prefix, attention = f"blocks.{l}.", layer.self_attention
        one = getattr(layer, "input_layernorm", None)
        first = one or layer.ln_attn
        second = getattr(layer, "post_attention_layernorm", None) or getattr(layer, "ln_mlp", None) or one
        norms(state, {prefix + "ln1": first, prefix + "ln2": second})
        fused = [rearrange(part, "(g s h) ... -> g s h ...", g=groups, h=cfg.d_head) if part is not None else None
                 for part in pair(attention.query_key_value)]
        parts = []
        for heads in (slice(0, -2), slice(-2, -1), slice(-1, None)):
            parts.append(tuple(rearrange(part[:, heads], "g s h ... -> (g s h) ...") if part is not None else None for part in fused))
        head_weights(state, cfg, prefix, *parts)
        output(state, cfg, prefix, attention.dense)
        plain_mlp(state, prefix, layer.mlp.dense_h_to_4h, layer.mlp.dense_4h_to_h)
    return state


def glm4(hf, cfg):
    body = hf.model
    state = {"embed.W_E": body.embed_tokens.weight, "unembed.W_U": hf.lm_head.weight.T}
    norms(state, {"ln_final": body.norm})
    for l, layer in enumerate(body.layers):
        prefix, attention, mlp = f"blocks.{l}.", layer.self_attn, layer.mlp
        norms(state, {prefix + "ln1": layer.input_layernorm, prefix + "ln1_post": layer.post_self_attn_layernorm,
                      prefix + "ln2": layer.post_attention_layernorm, prefix + "ln2_post": layer.post_mlp_layernorm})
        head_weights(state, cfg, prefix, pair(attention.q_proj), pair(attention.k_proj), pair(attention.v_proj))
        output(state, cfg, prefix, attention.o_proj)
        state[f"{prefix}mlp.W_gate"], state[f"{prefix}mlp.W_in"] = mlp.gate_up_proj.weight.T.tensor_split(2, dim=1)
        state[f"{prefix}mlp.W_out"] = mlp.down_proj.weight.T
    return state
