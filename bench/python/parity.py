"""Compares a dump of `tlens run` with TransformerLens and Hugging Face on the same folder. A Markdown table on stdout.

    tlens run FOLDER --tokens 1,2,3 --cache all --out run.safetensors --processing none
    python parity.py FOLDER run.safetensors [--tolerance 2e-5] [--all]

The dump holds `tokens` [batch, pos], `logits` and activations under their full names. Each line of the table is a
family of sites (a hook name without its layer) with its largest error: the largest difference over the largest
finite magnitude of the reference tensor, infinite where a NaN or an infinity is on one side only. Fails (1) if an
error is over the tolerance, or if a site of the reference is missing from the dump and `--all` is given.
"""

import argparse
import re
import sys

import torch
from safetensors.torch import load_file

from peers import load_hf, load_tl, versions

FLAGS = {"hook_result": "use_attn_result", "hook_q_input": "use_split_qkv_input", "hook_k_input": "use_split_qkv_input",
         "hook_v_input": "use_split_qkv_input", "hook_attn_in": "use_attn_in", "hook_mlp_in": "use_hook_mlp_in",
         "hook_tokens": "use_hook_tokens"}


def error(value, reference):
    """The relative error of one tensor; infinite if shape, NaN or infinities differ."""
    if value.shape != reference.shape or value.isnan().any():
        return float("inf")
    finite = reference.isfinite()
    if not torch.equal(value[~finite], reference[~finite]):
        return float("inf")
    if not finite.any():
        return 0.0
    scale = reference[finite].abs().max().item() or 1.0
    difference = (value[finite].double() - reference[finite].double()).abs().max().item()
    return difference / scale if difference == difference else float("inf")


def references(hf, dump):
    """Every activation of the dump's tokens: all sites of an unflagged run, and each flagged site the dump has."""
    tokens = dump["tokens"].long()
    logits, cache = load_tl(hf).run_with_cache(tokens, return_cache_object=False)
    found = {"logits": logits, **cache}
    wanted = {FLAGS[name.rsplit(".", 1)[-1]] for name in dump if name.rsplit(".", 1)[-1] in FLAGS}
    for flag in sorted(wanted):
        _, cache = load_tl(hf, **{flag: True}).run_with_cache(tokens, return_cache_object=False)
        found.update({name: value for name, value in cache.items() if FLAGS.get(name.rsplit(".", 1)[-1]) == flag})
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("dump")
    parser.add_argument("--tolerance", type=float, default=2e-5)
    parser.add_argument("--all", action="store_true", help="a site that is not in the dump is a failure")
    arguments = parser.parse_args()
    hf, dump = load_hf(arguments.folder, "eager"), load_file(arguments.dump)
    with torch.no_grad():
        found = references(hf, dump)
        families = {"logits (Hugging Face)": [error(dump["logits"], hf(dump["tokens"].long()).logits)]}
    missing = sorted(set(found) - set(dump))
    for name in [name for name in found if name in dump]:
        families.setdefault(re.sub(r"^blocks\.\d+\.", "blocks.*.", name), []).append(error(dump[name], found[name]))
    extra = sorted(set(dump) - set(found) - {"tokens"})
    print("| site | tensors | largest relative error |\n|---|---|---|")
    for family, errors in families.items():
        print(f"| `{family}` | {len(errors)} | {max(errors):.1e}{'' if max(errors) <= arguments.tolerance else ' **over**'} |")
    had = versions()
    print(f"\ntransformer_lens {had['transformer_lens']}, transformers {had['transformers']}, torch {had['torch']}")
    for what, names in (("not in the dump", missing), ("not in TransformerLens", extra)):
        if names:
            print(f"{len(names)} {what}: {', '.join(names[:6])}{' …' if len(names) > 6 else ''}")
    failed = max(max(errors) for errors in families.values()) > arguments.tolerance or extra or (arguments.all and missing)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
