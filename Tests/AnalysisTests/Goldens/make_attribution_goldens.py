"""Makes the goldens of attribution patching, EAP and EAP-IG with PyTorch's gradients through TransformerLens 3.9.0.

    python make_attribution_goldens.py

The models are golden folders of the model tests, unprocessed, with `use_attn_result`, `use_split_qkv_input` and `use_hook_mlp_in`: every
head's own input and output is then a hook point. Prompts and answers are those of make_experiment_goldens.py. One edge at a time, as the papers
have it: the difference of what a node writes (clean − corrupted) dotted with the gradient at what a later node reads; the mean over
examples. `experiments/attribution.json` names readers and writers; `experiments/attribution.safetensors` holds `MODEL/eap.clean`,
`MODEL/eap.corrupted`, `MODEL/eap-ig` (3 steps, k / 3), `[reader, writer]`, NaN where there is no edge, and attributions of nodes. Versions are
those of ../../ModelTests/Goldens/requirements.txt. Needs no network.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

from make_experiment_goldens import CLEAN, CORRUPTED, NAMES, difference, model_of

ROOT = Path(__file__).resolve().parent
STEPS = 3
NODES = ["resid_pre", "attn_out", "mlp_out"]
HEADS = ["z", "q", "k", "v"]


def graph(tl):
    """Writers and readers in order, and how many writers each reader sees."""
    layers, heads, mlps = tl.cfg.n_layers, tl.cfg.n_heads, not tl.cfg.attn_only
    kv = tl.cfg.n_key_value_heads or heads
    letter = "g" if kv != heads else "h"
    writers, readers = ["input"], []
    for l in range(layers):
        before = len(writers)
        readers += [(f"a{l}.h{h}<q>", f"blocks.{l}.hook_q_input", h, before) for h in range(heads)]
        readers += [(f"a{l}.{letter}{h}<{x}>", f"blocks.{l}.hook_{x}_input", h, before) for x in "kv" for h in range(kv)]
        writers += [f"a{l}.h{h}" for h in range(heads)]
        if mlps:
            readers.append((f"m{l}", f"blocks.{l}.hook_mlp_in", None, before if tl.cfg.parallel_attn_mlp else len(writers)))
            writers.append(f"m{l}")
    readers.append(("logits", f"blocks.{layers - 1}.hook_resid_post", None, len(writers)))
    return writers, readers


def written(tl, cache):
    out = [cache["blocks.0.hook_resid_pre"]]
    for l in range(tl.cfg.n_layers):
        out += list(cache[f"blocks.{l}.attn.hook_result"].unbind(2))
        if not tl.cfg.attn_only:
            out.append(cache[f"blocks.{l}.hook_mlp_out"])
    return out


def gradients(tl, tokens, names, stream=None):
    grads = {}

    def keep(grad, hook):
        # Heads that share an input in TransformerLens fire once for each use.
        grads[hook.name] = grads.get(hook.name, 0) + grad.detach().clone()

    forward = [] if stream is None else [("blocks.0.hook_resid_pre", lambda value, hook: stream.requires_grad_())]
    with tl.hooks(fwd_hooks=forward, bwd_hooks=[(name, keep) for name in names]):
        difference(tl(tokens)).backward()
    tl.zero_grad()
    return grads


def edges(changes, readers, grads):
    scores = torch.full((len(readers), len(changes)), float("nan"))
    for row, (_, name, head, count) in enumerate(readers):
        grad = grads[name] if head is None else grads[name][:, :, head]
        for column in range(count):
            # The metric is a mean over examples already.
            scores[row, column] = (changes[column].double() * grad.double()).sum()
    return scores


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    tensors, document = {}, {"steps": STEPS, "models": {}}
    for name in NAMES:
        tl = model_of(name, False, use_attn_result=True, use_split_qkv_input=True, use_hook_mlp_in=True)
        clean, corrupted = torch.tensor(CLEAN), torch.tensor(CORRUPTED)
        with torch.no_grad():
            (_, a), (_, b) = tl.run_with_cache(clean), tl.run_with_cache(corrupted)
        changes = [x - y for x, y in zip(written(tl, a), written(tl, b))]
        writers, readers = graph(tl)
        hooks = sorted({name for _, name, _, _ in readers})
        tensors[f"{name}/eap.clean"] = edges(changes, readers, gradients(tl, clean, hooks))
        tensors[f"{name}/eap.corrupted"] = edges(changes, readers, gradients(tl, corrupted, hooks))
        start, end = b["blocks.0.hook_resid_pre"], a["blocks.0.hook_resid_pre"]
        mean = {}
        for k in range(1, STEPS + 1):
            for key, grad in gradients(tl, clean, hooks, (start + k / STEPS * (end - start)).clone()).items():
                mean[key] = mean.get(key, 0) + grad / STEPS
        tensors[f"{name}/eap-ig"] = edges(changes, readers, mean)
        sites = {short: [f"blocks.{l}.{'attn.' if short in HEADS else ''}hook_{short}" for l in range(tl.cfg.n_layers)] for short in NODES + HEADS}
        for point, tokens in (("clean", clean), ("corrupted", corrupted)):
            grads = gradients(tl, tokens, [site for group in sites.values() for site in group])
            for short, group in sites.items():
                tensors[f"{name}/{short}.{point}"] = torch.stack([((a[s] - b[s]) * grads[s]).sum(-1).sum(0) for s in group])
        document["models"][name] = {"writers": writers, "readers": [reader[0] for reader in readers]}
    (ROOT / "experiments" / "attribution.json").write_text(json.dumps(document) + "\n")
    save_file({key: value.detach().float().contiguous() for key, value in tensors.items()}, ROOT / "experiments" / "attribution.safetensors")
    print(len(tensors), "tensors,", sum(t.numel() for t in tensors.values()), "numbers")


if __name__ == "__main__":
    sys.exit(main())
