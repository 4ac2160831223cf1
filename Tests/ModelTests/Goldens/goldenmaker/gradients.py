"""Gradients of the goldens' models: of one fixed scalar, at every site and of every parameter, by PyTorch's autograd.

The makers are run again as they are, into a folder that is thrown away; their passes are caught on the way and run once more with
gradients. Activations are TransformerLens' hook points (`caught`), or tensors of the running Hugging Face model where the family
is not in TransformerLens (`gradients_hf.py`). Of each gradient a summary is kept: see `summary`.

The scalar is the sum of the output (logits, or the last residual stream where there are none), and of pooler and next-sentence
head where there are such, times the numbers of `weights`; of a padded batch, at its real tokens.
"""

import numpy
import torch

from . import moe
from .recorder import Recorder, run

PROJECTIONS, SAMPLES = 6, 12


def weights(tensor):
    """Numbers between -1 and 1, the same for every tensor of this many elements, over its rows."""
    numbers = (torch.arange(tensor.numel(), dtype=torch.int64) * 37 % 19 - 9).to(tensor.dtype) / 9
    return numbers.reshape(tensor.shape)


def scalar(outputs, mask=None):
    return sum((output * weights(output))[... if mask is None else mask.bool()].sum() for output in outputs)


def signs(count, projection):
    """1 or -1 for each element: a bit of splitmix64 of its place."""
    with numpy.errstate(over="ignore"):
        z = numpy.arange(count, dtype=numpy.uint64) * numpy.uint64(PROJECTIONS) + numpy.uint64(projection + 1)
        z = z * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        return 1.0 - 2.0 * ((z ^ (z >> numpy.uint64(31))) & numpy.uint64(1)).astype(numpy.float64)


def summary(tensor):
    """The largest magnitude, sums with random signs, and elements at even distances."""
    flat = tensor.detach().double().reshape(-1).numpy()
    if flat.size == 0:
        return torch.zeros(1 + PROJECTIONS + SAMPLES)
    sums = [float((flat * signs(flat.size, k)).sum()) for k in range(PROJECTIONS)]
    places = [k * flat.size // SAMPLES for k in range(SAMPLES)]
    return torch.tensor([float(abs(flat).max())] + sums + [float(flat[place]) for place in places], dtype=torch.float32)


def shaped(recorder, name, tensor):
    """A gradient as the project shapes the activation: norms of heads unflattened, an expert's rows in order of position."""
    if "_norm.hook_" in name:
        heads = recorder.heads(name).shape
        of_all_heads = tensor.numel() // tensor.shape[-1] == heads[0] * heads[1] and heads[2] > 1
        return tensor.reshape(*heads[:2 if of_all_heads else 3], tensor.shape[-1])
    if "expert" in name:
        return moe.normalised(recorder, name, tensor)
    return tensor


def caught(model, tokens, parameters, **arguments):
    """Gradients of one pass of a TransformerLens model: (sites, parameters), by name."""
    _, recorder = run(model, tokens, **arguments)
    fired = {}

    def keep(tensor, hook):
        if not torch.is_floating_point(tensor) or not tensor.requires_grad:
            return None
        # A tensor of the site's own: what reads the one before it is no part of its gradient.
        own = tensor.view_as(tensor)
        fired.setdefault(hook.name, []).append(own)
        return own

    for parameter in parameters.values():
        parameter.requires_grad_(True)
    with torch.enable_grad(), model.hooks(fwd_hooks=[(lambda name: True, keep)]):
        output = model(tokens, **arguments)
    heads = [fired[name][-1] for name in ("pooler.hook_pooler_out", "nsp_head.hook_nsp_out") if name in fired]
    tensors = [tensor for each in fired.values() for tensor in each] + list(parameters.values())
    mask = arguments.get("attention_mask")
    found = list(torch.autograd.grad(scalar([output] + heads, mask), tensors, allow_unused=True, materialize_grads=True))
    sites = {}
    for name, each in fired.items():
        parts = [found.pop(0) for _ in each]
        if name.split(".")[-2:-1] == ["ln1"]:  # with split inputs: a copy for each head
            parts = [part.sum(2) if part.dim() == 4 else part for part in parts]
        sites[name] = shaped(recorder, name, sum(parts))
        # A query of padding may attend to nothing: its softmax is 0 / 0, and so is the gradient there, which nothing goes on with.
        if mask is not None and name.endswith("hook_attn_scores"):
            sites[name] = torch.where((recorder.values[name] == -torch.inf).all(-1, keepdim=True), 0, sites[name])
    for name in sites:
        # TransformerLens' T5Block adds the MLP's output to what its hook_mlp_in left: its gradient there has the stream's in it.
        if name.startswith(("encoder.", "decoder.")) and name.endswith("hook_mlp_in"):
            sites[name] = sites[name] - sites[name.replace("hook_mlp_in", "hook_resid_post")]
    return sites, dict(zip(parameters, found))


def parameters_of(model):
    """TransformerLens' parameters by the names its state dict has."""
    inner = getattr(model, "tl", model)
    named = dict(inner.named_parameters())
    if isinstance(getattr(inner, "W_U", None), torch.Tensor) and "unembed.W_U" not in named:
        inner.W_U = inner.W_U.detach().clone()
        named["unembed.W_U"] = inner.W_U
    return {name: value for name, value in named.items() if value.is_floating_point()}


def turned(values):
    """Projections of embeddings, which are Linear layers there, as matrices [in, out]."""
    names = {"project_in.weight": "embed.W_proj", "project_out.weight": "unembed.W_proj"}
    return {names.get(name, name): value.T if name in names else value for name, value in values.items()}


def tied(values, gradients):
    """Of embeddings that are the unembedding's, perhaps times a factor, the sum of both uses: as the gradient of the latter."""
    table, matrix = (next((name for name in values if name.endswith(end)), None) for end in ("embed.W_E", "unembed.W_U"))
    if table is None or matrix is None or values[table].T.shape != values[matrix].shape:
        return {}
    factor = (values[table].T * values[matrix]).sum() / values[matrix].pow(2).sum()
    if not torch.allclose(values[table].T, factor * values[matrix], rtol=1e-5, atol=1e-6):
        return {}
    return {"unembed.W_U": gradients[matrix] + factor * gradients[table].T}


FLAGS = {"use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in"}


def flags_of(model):
    """TransformerLens' switches that are on."""
    inner = getattr(model, "tl", model)
    cfg = getattr(inner, "cfg", None) or inner.blocks[0].attn.cfg
    return {name for name in FLAGS if getattr(cfg, name, False)}


class Catcher:
    """Stands in for `recorder.run`: lets each pass through, and goes over plain ones again with gradients."""

    def __init__(self):
        self.passes = []

    def __call__(self, model, tokens, edits=(), strict=False, **arguments):
        result = run(model, tokens, edits=edits, strict=strict, **arguments)
        if not edits:
            parameters = parameters_of(model)
            values = {name: value.detach().clone() for name, value in parameters.items()}
            sites, gradients = caught(model, tokens, parameters, **arguments)
            for parameter in parameters.values():
                parameter.requires_grad_(False)
            self.passes.append(dict(output=result[0], sites=sites, parameters=turned(gradients), values=turned(values), flags=flags_of(model),
                                    mask=arguments.get("attention_mask"), more={"tied": tied(values, gradients)}))
        return result
