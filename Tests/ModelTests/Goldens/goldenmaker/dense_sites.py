"""Activations of Hugging Face decoders under TransformerLens' names, read off the running model by hooks on its modules.

For families that TransformerLens 3.9.0 cannot express. What a module computes is taken from it; what is inside a function is
computed again here from the function's inputs (a norm's scale, masked scores) and checked against what the function gave.
"""

import math
import sys

import torch

from .recorder import check

MASKED = -1e30


class Tap:
    """The inputs and outputs of modules in one pass."""

    def __init__(self):
        self.inputs, self.outputs, self.handles = {}, {}, []

    def on(self, module):
        def before(module, args, kwargs):
            self.inputs[module] = args[0] if args else kwargs.get("hidden_states")

        def after(module, args, output):
            output = output[0] if isinstance(output, tuple) else output
            # Some are changed in place later.
            self.outputs[module] = output.clone() if torch.is_tensor(output) else output

        self.handles += [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]

    def close(self):
        for handle in self.handles:
            handle.remove()


def norm_parts(module, x, kind):
    """What a norm divides by, and the quotient."""
    eps = next((getattr(module, name) for name in ("variance_epsilon", "eps") if hasattr(module, name)), 1e-5)  # OLMo fixes it
    centred = x - x.mean(-1, keepdim=True) if kind == "layer" else x
    scale = (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
    return scale, centred / scale


class Interface:
    """Attention through transformers' `eager_attention_forward`, wrapped while the model runs."""

    def __init__(self, hf):
        self.module = sys.modules[type(hf).__module__]
        self.name, self.calls = "eager_attention_forward", []
        if not hasattr(self.module, self.name):  # a multimodal model's text part
            self.module = sys.modules[type(body_of(hf)).__module__]

    def __enter__(self):
        original = getattr(self.module, self.name)

        def wrapped(module, query, key, value, attention_mask, scaling=None, **more):
            output, weights = original(module, query, key, value, attention_mask, scaling=scaling, **more)
            groups = query.shape[1] // key.shape[1]
            keys = key.repeat_interleave(groups, 1)
            scores = query @ keys.transpose(2, 3) * scaling
            if attention_mask is not None:
                scores = scores.masked_fill(attention_mask < MASKED, -math.inf)
            check(scores.softmax(-1), weights, "pattern")
            self.calls.append(dict(rot_q=query.transpose(1, 2), rot_k=key.transpose(1, 2), v=value.transpose(1, 2),
                                   scores=scores, pattern=weights, z=output))
            return output, weights

        setattr(self.module, self.name, wrapped)
        self.original = original
        return self

    def __exit__(self, *_):
        setattr(self.module, self.name, self.original)


def body_of(hf):
    body = getattr(hf, hf.base_model_prefix)
    return getattr(body, "language_model", body)


def causal(scores):
    length = scores.shape[-1]
    return scores.masked_fill(torch.ones(length, length).triu(1).bool(), -math.inf)


def mpt_attention(hf, attention, tap, layer):
    from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
    config, mixed = hf.config, tap.outputs[attention.Wqkv]
    q, k, v = (part.unflatten(-1, (config.n_heads, -1)) for part in mixed.chunk(3, dim=-1))
    clip = config.attn_config.clip_qkv or math.inf
    qc, kc, vc = (part.clamp(-clip, clip).transpose(1, 2) for part in (q, k, v))
    length = q.shape[1]
    slopes = -build_mpt_alibi_tensor(config.n_heads, 2, config.attn_config.alibi_bias_max)[:, 0, 0]
    distance = torch.arange(length)[None] - torch.arange(length)[:, None]
    scores = causal(qc @ kc.transpose(2, 3) * attention.softmax_scale + slopes[None, :, None, None] * distance)
    pattern = scores.softmax(-1)
    z = tap.inputs[attention.out_proj].unflatten(-1, (config.n_heads, -1))
    check((pattern @ vc).transpose(1, 2), z, "z")
    return dict(q=q, k=k, v=v, scores=scores, pattern=pattern, z=z)


def falcon_attention(hf, attention, tap, layer):
    from transformers.models.falcon.modeling_falcon import build_alibi_tensor
    config = hf.config
    q, k, v = attention._split_heads(tap.outputs[attention.query_key_value])
    length = q.shape[1]
    alibi = build_alibi_tensor(torch.ones(1, length, dtype=torch.long), config.num_attention_heads, torch.float32)[:, 0]
    scores = causal((q.transpose(1, 2) @ k.permute(0, 2, 3, 1) + alibi[None, :, None]) * attention.inv_norm_factor)
    pattern = scores.softmax(-1)
    z = tap.inputs[attention.dense].unflatten(-1, (config.num_attention_heads, -1))
    check((pattern @ v.transpose(1, 2)).transpose(1, 2), z, "z")
    return dict(q=q, k=k, v=v, scores=scores, pattern=pattern, z=z)


def separate(hf, attention, tap, layer):
    width = attention.head_dim
    return {letter: tap.outputs[getattr(attention, f"{letter}_proj")].unflatten(-1, (-1, width)) for letter in "qkv"}


def fused_phi3(hf, attention, tap, layer):
    config, width = hf.config, attention.head_dim
    q, k, v = tap.outputs[attention.qkv_proj].split([config.num_attention_heads * width] + [config.num_key_value_heads * width] * 2, dim=-1)
    return {letter: part.unflatten(-1, (-1, width)) for letter, part in zip("qkv", (q, k, v))}


class Shape:
    """Where a family keeps what: names of modules in a layer, `.`-separated."""

    def __init__(self, layers="layers", final="norm", attention="self_attn", out="self_attn.o_proj", ln1="input_layernorm", ln2="post_attention_layernorm",
                 ln1_post=None, ln2_post=None, q_norm=None, k_norm=None, qk_kind="rms", span="head", kind="rms", on_output=False, parallel=False, rotary=True,
                 mlp_in="mlp.up_proj", gate="mlp.gate_proj", mlp_out="mlp.down_proj", gate_up=None, project=separate, head="lm_head",
                 residual=lambda config: 1.0, unembed=lambda config: 1.0):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})


def part(module, path):
    for name in path.split("."):
        module = getattr(module, name, None)
        if module is None:
            return None
    return module


def record(hf, shape, tokens, **arguments):
    """One pass: (logits, activations in firing order)."""
    body, tap, values = body_of(hf), Tap(), {}
    layers = getattr(body, shape.layers)
    for module in hf.modules():
        tap.on(module)
    interface = Interface(hf) if shape.project in (separate, fused_phi3) else None
    try:
        with torch.no_grad():
            if interface:
                with interface:
                    logits = hf(tokens, **arguments).logits
            else:
                logits = hf(tokens, **arguments).logits
    finally:
        tap.close()
    values["hook_embed"] = tap.inputs[layers[0]]
    for l, layer in enumerate(layers):
        block(hf, shape, tap, interface.calls[l] if interface else {}, layer, values, f"blocks.{l}.", l)
    final = getattr(body, shape.final)
    add_norm(values, "ln_final", final, tap, shape.kind)
    values["unembed.hook_in"] = tap.outputs[final] * shape.unembed(hf.config)
    head = getattr(hf, shape.head)
    values["unembed.hook_out"] = head(values["unembed.hook_in"]).detach()
    check(values["unembed.hook_out"], logits, "logits from what W_U multiplies")
    return logits, {name: value.detach() for name, value in values.items()}


def add_norm(values, name, module, tap, kind, x=None):
    values[f"{name}.hook_scale"], values[f"{name}.hook_normalized"] = norm_parts(module, tap.inputs[module] if x is None else x, kind)


def block(hf, shape, tap, call, layer, values, prefix, l):
    attention = getattr(layer, shape.attention)
    found = {**call, **shape.project(hf, attention, tap, l)}
    resid_pre, factor = tap.inputs[layer], shape.residual(hf.config)
    ln1, ln2 = part(layer, shape.ln1), part(layer, shape.ln2)
    values[prefix + "hook_resid_pre"] = resid_pre
    if not shape.on_output:
        add_norm(values, prefix + "ln1", ln1, tap, shape.kind)
    for letter in "qkv":
        values[prefix + f"attn.hook_{letter}"] = found[letter]
    for letter, name in (("q", shape.q_norm), ("k", shape.k_norm)):
        if name and part(attention, name) is not None:
            heads, module = found[letter], part(attention, name)
            module = module.norms[0] if hasattr(module, "norms") else module
            add_norm(values, prefix + f"attn.{letter}_norm", module, tap, shape.qk_kind, heads.flatten(2) if shape.span == "all" else heads)
    if shape.rotary:
        values[prefix + "attn.hook_rot_q"], values[prefix + "attn.hook_rot_k"] = found["rot_q"], found["rot_k"]
    values[prefix + "attn.hook_attn_scores"], values[prefix + "attn.hook_pattern"] = found["scores"], found["pattern"]
    values[prefix + "attn.hook_z"] = found["z"]
    attn_out = written(shape, tap, layer, shape.out, shape.ln1, shape.ln1_post, values, prefix + "ln1", factor)
    values[prefix + "hook_attn_out"] = attn_out
    middle = resid_pre + attn_out
    if not shape.parallel:
        values[prefix + "hook_resid_mid"] = middle
    if not shape.on_output:
        add_norm(values, prefix + "ln2", ln1 if shape.parallel and ln2 is None else ln2, tap, shape.kind)
        if not shape.parallel:
            check(middle, tap.inputs[ln2], "the stream between attention and MLP")
    if shape.gate_up:
        pre, linear = tap.outputs[part(layer, shape.gate_up)].chunk(2, dim=-1)
    else:
        linear = tap.outputs[part(layer, shape.mlp_in)]
        pre = tap.outputs[part(layer, shape.gate)] if shape.gate else linear
    values[prefix + "mlp.hook_pre"] = pre
    if shape.gate:
        values[prefix + "mlp.hook_pre_linear"] = linear
    values[prefix + "mlp.hook_post"] = tap.inputs[part(layer, shape.mlp_out)]
    mlp_out = written(shape, tap, layer, shape.mlp_out, shape.ln2, shape.ln2_post, values, prefix + "ln2", factor)
    values[prefix + "hook_mlp_out"] = mlp_out
    values[prefix + "hook_resid_post"] = tap.outputs[layer]
    check(middle + mlp_out, tap.outputs[layer], "the stream leaving the block")


def written(shape, tap, layer, product, norm, post, values, name, factor):
    """What attention or the MLP adds to the stream: the last product, a norm of it, a factor."""
    out = tap.outputs[part(layer, product)]
    for use, module, label in ((shape.on_output, norm, name), (bool(post), post, name + "_post")):
        if use:
            module = part(layer, module)
            add_norm(values, label, module, tap, shape.kind)
            out = tap.outputs[module]
    return out * factor
