"""Runs a model, writes down what it fired and what it computed, and stores both as one golden.

A golden is two files: `golden.safetensors` with tensors named `RUN/NAME`, and `golden.json`, which says for every
run what went in (tokens, mask, flags, edits) and what came out (names, shapes, firing order).
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from . import moe
from .edits import as_hook

GATED = ("hook_result", "hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_in", "hook_mlp_in", "hook_tokens")


def is_gated(site):
    return site.rsplit(".", 1)[-1] in GATED


class Recorder:
    """Collects every activation of a pass: `fired` in order, repeats kept; `values` with the last value of each."""

    def __init__(self, strict=False):
        self.fired, self.values, self.strict = [], {}, strict

    def __call__(self, tensor, hook):
        # TransformerLens flattens batch, position and head here; the project keeps them apart.
        if "_norm.hook_" in hook.name:
            heads = self.heads(hook.name).shape
            of_all_heads = tensor.numel() // tensor.shape[-1] == heads[0] * heads[1] and heads[2] > 1
            tensor = tensor.reshape(*heads[:2 if of_all_heads else 3], tensor.shape[-1])
        if "expert" in hook.name:
            tensor = moe.normalised(self, hook.name, tensor)
        if self.strict and hook.name in self.values and not torch.equal(self.values[hook.name], tensor):
            raise ValueError(f"{hook.name} fired with different values")
        self.fired.append(hook.name)
        self.values[hook.name] = tensor.detach().clone()

    def heads(self, name):
        """The queries or keys that a norm works on, as they were kept before it."""
        prefix, letter = name.split("_norm.")[0][:-1], name.split("_norm.")[0][-1]
        return self.values[f"{prefix}hook_{letter}"]


def run(model, tokens, edits=(), strict=False, **arguments):
    """One pass of a TransformerLens model: (output, Recorder). Edits come before the recording, so what is
    recorded is what the model goes on with, as in a TransformerLens cache. `strict` refuses a site that fires
    more than once (ln1: for queries, keys and values) with different values."""
    recorder = Recorder(strict)
    hooks = [(edit["site"], as_hook(edit)) for edit in edits] + [(lambda name: True, recorder)]
    with torch.no_grad(), model.hooks(fwd_hooks=hooks):
        output = model(tokens, **arguments)
    return output, recorder


def relative_error(value, reference):
    """The largest difference over the reference's largest finite magnitude; infinite if the infinities differ."""
    finite = torch.isfinite(reference)
    if not torch.equal(finite, torch.isfinite(value)):
        return float("inf")
    scale = reference[finite].abs().max().item() or 1.0
    return (value[finite] - reference[finite]).abs().max().item() / scale


def check(value, reference, what, tolerance=1e-5):
    error = relative_error(value, reference)
    if not error <= tolerance:
        raise ValueError(f"{what}: relative error {error:.2e} over {tolerance:.0e}")
    return error


class Golden:
    """The two files of one folder, filled run by run."""

    def __init__(self, folder: Path, about: dict):
        self.folder, self.tensors = folder, {}
        self.document = {**about, "runs": []}

    def add(self, name, values, **about):
        """A run named `name` with its tensors; `about` is JSON. Empty fields are left out."""
        entry = {"name": name, **{k: v for k, v in about.items() if v is not None and v != []}}
        entry["tensors"] = {}
        for key, value in values.items():
            value = value.detach().contiguous()
            self.tensors[f"{name}/{key}"] = value.clone()
            entry["tensors"][key] = list(value.shape)
        self.document["runs"].append(entry)

    def write(self):
        save_file(self.tensors, self.folder / "golden.safetensors")
        (self.folder / "golden.json").write_text(dump(self.document))


def dump(document):
    """JSON with a line for each run, tensor list or plain value, so that a change shows in review."""
    lines = []
    for key, value in document.items():
        if key == "runs":
            body = ",\n".join("  " + json.dumps(entry, separators=(", ", ": ")) for entry in value)
            lines.append(f' "runs": [\n{body}\n ]')
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
