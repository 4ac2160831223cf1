"""Makes `gradients.safetensors` of every golden folder: PyTorch's gradients of the model that is there. README.md says what it holds.

    python make_gradient_goldens.py [--only NAME]...

Every model is made again from its seed in a folder of its own, and must give the golden's logits.
"""

import argparse
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers.utils.logging import disable_progress_bar as disable_progress_bars

from goldenmaker import behaviours, dense, encdec, gradients_hf, hf_models, native, toys
from goldenmaker.gradients import FLAGS, Catcher, summary
from goldenmaker.recorder import check
from make_goldens import make_hugging_face

ROOT = Path(__file__).resolve().parent


def runs_of(folder):
    return {run["name"]: run for run in json.loads((folder / "golden.json").read_text())["runs"]}


def write(name, passes):
    """`passes`: of the golden's plain runs in their order, the first its base."""
    folder = ROOT / name
    runs, golden = runs_of(folder), load_file(folder / "golden.safetensors")
    base = golden["base/logits"] if "base/logits" in golden else golden["base/residual"]
    check(passes[0]["output"], base, f"{name}: the model made again")
    chosen = {"base": passes[0]}
    for flag in sorted(FLAGS):
        if f"flag.{flag}" in runs:
            chosen[f"flag.{flag}"] = next(found for found in passes if found["flags"] == {flag})
    for label in ("pad.left", "pad.right"):
        if label in runs:
            chosen[label] = next(found for found in passes if found.get("mask") is not None and found["mask"].tolist() == runs[label]["attention_mask"])
    tensors, names = {}, {}
    for label, found in chosen.items():
        kept = {"sites": found["sites"]}
        if label == "base" or label.startswith("pad."):
            kept["parameters"] = found["parameters"]
            if found["values"] and label == "base":
                kept["values"] = found["values"]
            kept.update(found.get("more", {}))
        elif label.startswith("flag."):
            wanted = runs[label]["tensors"].keys() | {site for site in found["sites"] if ".ln1." in site}
            kept["sites"] = {site: value for site, value in found["sites"].items() if site in wanted}
        for kind, values in kept.items():
            if values:
                tensors[f"{label}/{kind}"] = torch.stack([summary(value) for value in values.values()])
                names[f"{label}/{kind}"] = "\n".join(values)
    save_file(tensors, folder / "gradients.safetensors", metadata=names)
    return f"{name:28} {len(chosen)} passes, {sum(len(value) for value in tensors.values())} gradients"


def caught(name, modules, make):
    """The passes that `make` runs through `run` of these modules."""
    catcher, before = Catcher(), [module.run for module in modules]
    for module in modules:
        module.run = catcher
    try:
        make()
    finally:
        for module, original in zip(modules, before):
            module.run = original
    return write(name, catcher.passes)


def jobs(root):
    for spec in hf_models.SPECS:
        spec.extras = tuple(extra for extra in spec.extras if extra in ("flags", "padding"))
        yield spec.name, lambda spec=spec: caught(spec.name, [behaviours], lambda: make_hugging_face(spec, root))
    for spec in dense.SPECS:
        yield spec.name, lambda spec=spec: write(spec.name, [gradients_hf.gradients(spec, root)])
    for name in dense.QWENS:
        yield name, lambda name=name: caught(name, [dense], lambda: dense.make_qwen(name, root, {}))
    yield "santacoder", lambda: caught("santacoder", [dense], lambda: dense.make_santacoder(root, {}))
    for seed, (name, fields) in enumerate({**native.NATIVE, **toys.NATIVE}.items()):
        yield name, lambda name=name, fields=fields, seed=seed: caught(name, [native], lambda: native.make(name, fields, root, {}, 50 + seed))
    for seed, name in enumerate(toys.OLD):
        yield name, lambda name=name, seed=seed: caught(name, [toys], lambda: toys.make_old(name, root, {}, 400 + seed, native.randomise))
    encdec.ROOT = root
    for name in encdec.SPECS:
        yield name, lambda name=name: caught(name, [encdec], lambda: encdec.make(name))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="of this folder alone (repeatable)")
    chosen = parser.parse_args().only
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    disable_progress_bars()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        for name, job in jobs(Path(folder)):
            if (not chosen or name in chosen) and (ROOT / name / "golden.json").exists():
                print(job(), flush=True)


if __name__ == "__main__":
    sys.exit(main())
