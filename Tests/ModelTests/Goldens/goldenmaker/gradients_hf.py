"""Gradients of Hugging Face decoders that TransformerLens 3.9.0 cannot express (those of dense.py).

At the sites that are tensors of the running model; and of every parameter, as sums with random signs, kept for each tensor of the
file: what a test compares is the product of its own gradients with what its loader makes of those signs.
"""

import sys
from types import SimpleNamespace

import numpy
import torch

from . import dense, dense_sites
from .gradients import scalar


class LiveTap(dense_sites.Tap):
    """As Tap, but it keeps the tensors that the model goes on with."""

    def on(self, module):
        def before(module, args, kwargs):
            self.inputs[module] = args[0] if args else kwargs.get("hidden_states")

        def after(module, args, output):
            # What the model goes on with is a copy: some change it in place.
            if torch.is_tensor(output):
                self.outputs[module] = output
                return output.clone()
            if isinstance(output, tuple) and torch.is_tensor(output[0]):
                self.outputs[module] = output[0]
                return (output[0].clone(), *output[1:])
            return None

        self.handles += [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]


class LiveInterface(dense_sites.Interface):
    """As Interface, with the tensors that attention goes on with."""

    def __enter__(self):
        self.original = getattr(self.module, self.name)

        def wrapped(module, query, key, value, attention_mask, scaling=None, **more):
            query, key = query.view_as(query), key.view_as(key)
            output, weights = self.original(module, query, key, value, attention_mask, scaling=scaling, **more)
            output = output.view_as(output)
            self.calls.append(dict(rot_q=query, rot_k=key, z=output, pattern=weights))
            return output, weights

        setattr(self.module, self.name, wrapped)
        return self


def gradients(spec, root):
    folder = dense.save(spec, root)
    hf = dense.classes(spec)[1].from_pretrained(folder, attn_implementation=spec.attention, dtype=torch.float32).eval()
    if spec.model == "Mpt":
        dense.use_bias_max(hf)
    tokens, shape = dense.tokens_for(spec), spec.shape
    body, tap = dense_sites.body_of(hf), LiveTap()
    layers = getattr(body, shape.layers)
    for module in hf.modules():
        tap.on(module)
    interface = LiveInterface(hf) if shape.project in (dense_sites.separate, dense_sites.fused_phi3) else None
    try:
        if interface:
            with interface:
                logits = hf(tokens).logits
        else:
            logits = hf(tokens).logits
    finally:
        tap.close()
    live = live_sites(hf, shape, body, layers, tap, interface)
    parameters = {name: parameter for name, parameter in hf.named_parameters() if parameter.requires_grad and "vision" not in name and "projector" not in name}
    found = list(torch.autograd.grad(scalar([logits]), [tensor for tensor, _ in live.values()] + list(parameters.values()), allow_unused=True,
                                     materialize_grads=True))
    sites = {name: turn(found[place]) for place, (name, (_, turn)) in enumerate(live.items())}
    grads = dict(zip(parameters, found[len(live):]))
    return dict(output=logits.detach(), sites=sites, parameters={}, values={}, flags=set(), more={"file": in_file(spec, grads)})


def in_file(spec, grads):
    """By the names of the folder's file."""
    def renamed(name):
        start = next((start for start in spec.rename if name.startswith(start)), "")
        return spec.rename.get(start, "") + name[len(start):]
    return {renamed(name): value for name, value in grads.items() if spec.model != "Mistral3"} | {
        name.replace("model.language_model.", "language_model.model.").replace("lm_head", "language_model.lm_head"): value
        for name, value in grads.items() if spec.model == "Mistral3"}


def live_sites(hf, shape, body, layers, tap, interface):
    """Site -> (tensor of the graph, what makes the site's shape of its gradient)."""
    part, same, factor = dense_sites.part, lambda g: g, shape.residual(hf.config)
    heads = lambda width: lambda g: g.unflatten(-1, (-1, width))
    swap, live = (lambda g: g.transpose(1, 2)), {}
    live["hook_embed"] = (tap.inputs[layers[0]], same)
    for l, layer in enumerate(layers):
        prefix, attention = f"blocks.{l}.", getattr(layer, shape.attention)
        live[prefix + "hook_resid_pre"] = (tap.inputs[layer], same)
        if shape.project is dense_sites.separate:
            for letter in "qkv":
                live[prefix + f"attn.hook_{letter}"] = (tap.outputs[getattr(attention, f"{letter}_proj")], heads(attention.head_dim))
        if interface:
            call = interface.calls[l]
            if shape.rotary:
                live[prefix + "attn.hook_rot_q"], live[prefix + "attn.hook_rot_k"] = (call["rot_q"], swap), (call["rot_k"], swap)
            live[prefix + "attn.hook_pattern"], live[prefix + "attn.hook_z"] = (call["pattern"], same), (call["z"], same)
        else:
            width = hf.config.hidden_size // hf.config.num_attention_heads
            live[prefix + "attn.hook_z"] = (tap.inputs[part(layer, shape.out)], heads(width))
        live[prefix + "hook_attn_out"] = written(shape, tap, layer, shape.out, shape.ln1, shape.ln1_post, factor)
        if not shape.parallel and not shape.on_output:
            live[prefix + "hook_resid_mid"] = (tap.inputs[part(layer, shape.ln2)], same)
        if shape.gate_up:
            fused = tap.outputs[part(layer, shape.gate_up)]
            live[prefix + "mlp.hook_pre"] = (fused, lambda g: g.chunk(2, dim=-1)[0])
            live[prefix + "mlp.hook_pre_linear"] = (fused, lambda g: g.chunk(2, dim=-1)[1])
        else:
            live[prefix + "mlp.hook_pre"] = (tap.outputs[part(layer, shape.gate or shape.mlp_in)], same)
            if shape.gate:
                live[prefix + "mlp.hook_pre_linear"] = (tap.outputs[part(layer, shape.mlp_in)], same)
        live[prefix + "mlp.hook_post"] = (tap.inputs[part(layer, shape.mlp_out)], same)
        live[prefix + "hook_mlp_out"] = written(shape, tap, layer, shape.mlp_out, shape.ln2, shape.ln2_post, factor)
        live[prefix + "hook_resid_post"] = (tap.outputs[layer], same)
    unembed = shape.unembed(hf.config)
    live["unembed.hook_in"] = (tap.outputs[getattr(body, shape.final)], lambda g: g / unembed)
    return live


def written(shape, tap, layer, product, norm, post, factor):
    """What attention or the MLP adds to the stream: after norms and the factor."""
    last = post or (norm if shape.on_output else None)
    tensor = tap.outputs[dense_sites.part(layer, last or product)]
    return tensor, lambda g: g / factor
