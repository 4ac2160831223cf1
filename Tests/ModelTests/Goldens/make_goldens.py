"""Makes every golden of the model tests. README.md says what the files are.

    python make_goldens.py [--only NAME]... [--stories FOLDER]

Runs on one thread, needs no network and writes only beside itself.
"""

import argparse
import logging
import platform
import sys
import warnings
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar as disable_progress_bars

from goldenmaker import behaviours, dense, hf_models, moe, native, stories, toys
from goldenmaker.recorder import Golden
from goldenmaker.tl_models import to_tl

ROOT = Path(__file__).resolve().parent


def versions():
    from importlib.metadata import version
    names = ["transformer_lens", "transformers", "torch", "safetensors"]
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def make_hugging_face(spec, root):
    """One Hugging Face folder with its golden; returns a line about it."""
    folder = hf_models.save(spec, root)
    hf = hf_models.load(spec, folder)
    tl = to_tl(hf)
    golden = Golden(folder, {"model": spec.name, "made_with": versions(), "notes": spec.notes})
    base = behaviours.base(golden, spec, hf, tl)
    groups = {
        "flags": lambda: behaviours.flags(golden, spec, hf, base),
        "padding": lambda: behaviours.padding(golden, spec, hf, tl),
        "loss": lambda: behaviours.loss(golden, spec, hf, tl, base),
        "layers": lambda: behaviours.layers(golden, spec, tl, base),
        "edits": lambda: behaviours.edits(golden, spec, hf, tl),
        "generate": lambda: behaviours.generate(golden, spec, hf, tl),
        "state": lambda: native.state(golden, spec, tl),
    }
    for group in spec.extras:
        groups[group]()
    golden.write()
    if spec.name in moe.AFTERWARDS:
        moe.AFTERWARDS[spec.name](folder)
    return describe(spec.name, base[1], base[2], golden.document["runs"][0]["hf_relative_error"])


def describe(name, logits, values, error):
    """Whether a model is worth testing on: how large its logits are, how spread its attention is."""
    entropies = []
    for site, pattern in values.items():
        if site.endswith("hook_pattern"):
            last = pattern[:, :, -1]
            entropies.append((-(last * last.clamp(min=1e-30).log()).sum(-1)).mean().item())
    spread = " ".join(f"{entropy:.2f}" for entropy in entropies)
    return f"{name:24} logits sd {logits.std():.2f} max {logits.abs().max():.1f}  entropy {spread}  HF {error:.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="make this folder alone (repeatable)")
    parser.add_argument("--stories", type=Path, help="the folder of stories260K: makes stories260K.json, nothing else")
    arguments = parser.parse_args()
    chosen = arguments.only
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    disable_progress_bars()
    logging.disable(logging.WARNING)
    if arguments.stories:
        print(stories.make(arguments.stories, ROOT / "stories260K.json", versions()))
        return
    for spec in hf_models.SPECS:
        if not chosen or spec.name in chosen:
            print(make_hugging_face(spec, ROOT), flush=True)
    for line in dense.make_all(ROOT, versions(), chosen, describe):
        print(line, flush=True)
    for seed, (name, fields) in enumerate({**native.NATIVE, **toys.NATIVE}.items()):
        if not chosen or name in chosen:
            logits = native.make(name, fields, ROOT, versions(), 50 + seed)
            print(f"{name:24} logits sd {logits.std():.2f} max {logits.abs().max():.1f}", flush=True)
    for seed, name in enumerate(toys.OLD):
        if not chosen or name in chosen:
            logits = toys.make_old(name, ROOT, versions(), 400 + seed, native.randomise)
            print(f"{name:24} logits sd {logits.std():.2f} max {logits.abs().max():.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
