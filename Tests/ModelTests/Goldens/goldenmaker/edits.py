"""Edits of activations, said in JSON so that another program can make the same ones.

An edit is `{"site": NAME, "operation": OP, "at": [..], ...}`. `at` has one entry per axis, from the first; axes not
mentioned are taken whole. An entry is null (the whole axis), a number (one index; negative from the end) or
`[start, end]` (end excluded). Operations: `set` (to `value`), `multiply` (by `value`), `add` (`value`), `copy` (the
elements at `from`, same form, before the edit, are put at `at`). A value "-inf" is minus infinity.
"""

import torch


def index(at):
    """The Python index of an `at`; a single number keeps its axis out, as indexing does."""
    def one(entry):
        if entry is None:
            return slice(None)
        return slice(*entry) if isinstance(entry, (list, tuple)) else entry
    return tuple(one(entry) for entry in at)


def apply(tensor, edit):
    """A new tensor with the edit made."""
    result, where = tensor.clone(), index(edit["at"])
    operation = edit["operation"]
    if operation == "copy":
        result[where] = tensor[index(edit["from"])]
        return result
    value = float("-inf") if edit["value"] == "-inf" else edit["value"]
    if operation == "set":
        result[where] = value
    elif operation == "multiply":
        result[where] = tensor[where] * value
    elif operation == "add":
        result[where] = tensor[where] + value
    else:
        raise ValueError(f"unknown operation {operation}")
    return result


def as_hook(edit):
    return lambda tensor, hook: apply(tensor, edit)


def make(site, operation, at, value=None, **more):
    edit = {"site": site, "operation": operation, "at": at, **more}
    if value is not None:
        edit["value"] = value
    return edit


ALL = None


def common():
    """Edits that every decoder understands: (name, flags, edits)."""
    b0, b1 = "blocks.0.", "blocks.1."
    return [
        ("embed", {}, [make("hook_embed", "multiply", [ALL, 2], 0.5)]),
        ("resid-pre", {}, [make(b1 + "hook_resid_pre", "set", [ALL, 2], 0.0)]),
        ("resid-pre-copy", {}, [make(b1 + "hook_resid_pre", "copy", [1, 3], **{"from": [0, 5]})]),
        ("resid-pre-add", {}, [make(b0 + "hook_resid_pre", "add", [ALL, -1, [3, 9]], 0.75)]),
        ("resid-mid", {}, [make(b0 + "hook_resid_mid", "multiply", [0, [2, 5]], 1.5)]),
        ("resid-post", {}, [make(b1 + "hook_resid_post", "multiply", [ALL, ALL, 7], -1.0)]),
        ("attn-out", {}, [make(b0 + "hook_attn_out", "set", [ALL, 4], 0.0)]),
        ("mlp-out", {}, [make(b1 + "hook_mlp_out", "set", [ALL, [1, 3]], 0.25)]),
        ("ln1-scale", {}, [make(b1 + "ln1.hook_scale", "multiply", [ALL, 2], 2.0)]),
        ("ln1-normalized", {}, [make(b0 + "ln1.hook_normalized", "multiply", [1, ALL, [0, 5]], 0.5)]),
        ("ln2-scale", {}, [make(b0 + "ln2.hook_scale", "multiply", [0], 0.5)]),
        ("ln2-normalized", {}, [make(b1 + "ln2.hook_normalized", "set", [ALL, 1, 3], 1.0)]),
        ("ln-final-scale", {}, [make("ln_final.hook_scale", "multiply", [ALL, -1], 3.0)]),
        ("ln-final-normalized", {}, [make("ln_final.hook_normalized", "set", [1, 0], 0.0)]),
        ("q", {}, [make(b0 + "attn.hook_q", "multiply", [ALL, ALL, 1], 0.5)]),
        ("k", {}, [make(b0 + "attn.hook_k", "set", [ALL, 2, 1], 0.0)]),
        ("v", {}, [make(b1 + "attn.hook_v", "multiply", [ALL, 1, 0], 2.0)]),
        ("attn-scores", {}, [make(b0 + "attn.hook_attn_scores", "set", [ALL, 1, ALL, 2], "-inf")]),
        ("attn-scores-scale", {}, [make(b1 + "attn.hook_attn_scores", "multiply", [ALL, 2], 0.5)]),
        ("pattern", {}, [make(b0 + "attn.hook_pattern", "multiply", [0, 1, 5], 0.5)]),
        ("pattern-future", {}, [make(b1 + "attn.hook_pattern", "set", [ALL, 0, 1, 4], 0.25)]),
        ("z-head", {}, [make(b0 + "attn.hook_z", "set", [ALL, ALL, 1], 0.0)]),
        ("mlp-pre", {}, [make(b0 + "mlp.hook_pre", "add", [ALL, 3, [0, 10]], 1.0)]),
        ("mlp-post", {}, [make(b1 + "mlp.hook_post", "set", [ALL, ALL, 4], 0.0)]),
        ("unembed-in", {}, [make("unembed.hook_in", "multiply", [0, 1], -0.5)]),
        ("unembed-out", {}, [make("unembed.hook_out", "add", [ALL, ALL, 5], 1.5)]),
        ("hook-result", {"use_attn_result": True}, [make(b0 + "attn.hook_result", "set", [ALL, [0, 4], 2], 0.0)]),
        ("q-input", {"use_split_qkv_input": True}, [make(b1 + "hook_q_input", "multiply", [ALL, ALL, 1, [0, 9]], 0.5)]),
        ("k-input", {"use_split_qkv_input": True}, [make(b1 + "hook_k_input", "set", [ALL, 2, 1], 0.0)]),
        ("v-input", {"use_split_qkv_input": True}, [make(b0 + "hook_v_input", "add", [1, ALL, 0, [2, 8]], -0.5)]),
        ("mlp-in", {"use_hook_mlp_in": True}, [make(b0 + "hook_mlp_in", "multiply", [ALL, 3, [0, 9]], 2.0)]),
        ("tokens", {"use_hook_tokens": True}, [make("hook_tokens", "set", [ALL, 2], 5)]),
        ("two-sites", {}, [make(b0 + "attn.hook_z", "set", [ALL, ALL, 0], 0.0),
                           make(b1 + "hook_resid_pre", "multiply", [ALL, 0], 0.5)]),
        ("same-site-in-order", {}, [make(b0 + "hook_mlp_out", "multiply", [ALL, 2], 2.0),
                                    make(b0 + "hook_mlp_out", "add", [ALL, 2], 1.0)]),
    ]


def gpt2_only():
    return [
        ("pos-embed", {}, [make("hook_pos_embed", "set", [ALL, 3], 0.0)]),
        ("attn-in", {"use_attn_in": True}, [make("blocks.1.hook_attn_in", "multiply", [ALL, ALL, 2, [4, 15]], 0.5)]),
    ]


def llama_only():
    return [
        ("rot-q", {}, [make("blocks.0.attn.hook_rot_q", "multiply", [ALL, ALL, 4], -1.0)]),
        ("rot-k", {}, [make("blocks.1.attn.hook_rot_k", "set", [ALL, 0, 1], 0.0)]),
        ("mlp-pre-linear", {}, [make("blocks.0.mlp.hook_pre_linear", "multiply", [1, ALL, [0, 20]], 0.5)]),
    ]


def edits_for(family):
    return common() + (gpt2_only() if family == "gpt2" else llama_only())
