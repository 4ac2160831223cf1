"""Makes the goldens of patching, head detection and evaluation from TransformerLens 3.9.0.

    python make_experiment_goldens.py [--only MODEL]...

The models are golden folders of the model tests, as they are and processed. For each, `experiments/MODEL.json` says what
was run and `experiments/MODEL.safetensors` holds what came out, under `plain/…` and `processed/…`. Versions are those of
../../ModelTests/Goldens/requirements.txt. Needs no network.
"""

import argparse
import json
import logging
import sys
import warnings
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from transformer_lens import HookedTransformer, evals, patching
from transformer_lens.head_detector import HEAD_NAMES, detect_head
from transformer_lens.tools.analysis.svd_circuits import decompose_head
from transformer_lens.tools.analysis.direct_path_patching import get_act_patch_direct_path_all_sources

# The package shadows the module by a function of its name.
kernel = import_module("transformer_lens.tools.analysis.projection_kernel")

ROOT = Path(__file__).resolve().parent
MODELS = ROOT.parent.parent / "ModelTests" / "Goldens"
sys.path.insert(0, str(MODELS))

from goldenmaker import hf_models  # noqa: E402
from goldenmaker.tl_models import to_tl  # noqa: E402

NAMES = ["gpt2-tiny", "llama-grouped", "gpt-neox"]
CLEAN = [[5, 17, 80, 17, 33], [61, 9, 44, 2, 9]]
CORRUPTED = [[5, 23, 80, 51, 33], [61, 12, 44, 70, 3]]
ANSWERS, WRONG = [10, 31], [77, 4]
SEQUENCE = [1, 17, 33, 5, 17, 33, 60, 1, 17, 33, 5]
# One layer, then the heads: these are the sweeps' names without `get_act_patch_`.
SWEEPS = [name.removeprefix("get_act_patch_") for name in dir(patching) if name.startswith("get_act_patch_")]


def difference(logits):
    rows = torch.arange(len(logits))
    return (logits[rows, -1, ANSWERS] - logits[rows, -1, WRONG]).mean()


def model_of(name, processed, **flags):
    spec = next(spec for spec in hf_models.SPECS if spec.name == name)
    tl = to_tl(hf_models.load(spec, MODELS / name), **flags)
    if processed:
        tl.process_weights_(fold_ln=True, center_writing_weights=tl.cfg.normalization_type.startswith("LN"), center_unembed=True)
        tl.setup()  # the new norms' hooks get their names
    return tl


def sweeps(tl, out):
    clean, corrupted = torch.tensor(CLEAN), torch.tensor(CORRUPTED)
    _, cache = tl.run_with_cache(clean)
    with torch.no_grad():
        out["baseline"] = difference(tl(corrupted))
        out["clean"] = difference(tl(clean))
        for name in SWEEPS:
            if tl.cfg.parallel_attn_mlp and name in ("resid_mid",):
                continue
            out[f"patch/{name}"] = getattr(patching, f"get_act_patch_{name}")(tl, corrupted, cache, difference)
        noising = tl.run_with_cache(corrupted)[1]
        out["noise/attn_head_out_by_pos"] = patching.get_act_patch_attn_head_out_by_pos(tl, clean, noising, difference)

        def neuron(activation, index, clean_activation):
            activation[:, index[1], index[2]] = 0.5 * clean_activation[:, index[1], index[2]] + 0.25
            return activation

        cells = pd.DataFrame([[1, 2, 3], [0, 4, 7], [1, 0, 19]], columns=["layer", "pos", "neuron"])
        out["custom/post"] = patching.generic_activation_patch(tl, corrupted, cache, difference, neuron, "post", index_df=cells)


def ungrouped(name, processed, out):
    """Keys and values for each query head: TransformerLens' own flag."""
    tl = model_of(name, processed, ungroup_grouped_query_attention=True)
    corrupted = torch.tensor(CORRUPTED)
    with torch.no_grad():
        _, cache = tl.run_with_cache(torch.tensor(CLEAN))
        for part in "kv":
            index = pd.DataFrame([[l, p, h] for l in range(tl.cfg.n_layers) for p in range(5) for h in range(tl.cfg.n_heads)],
                                 columns=["layer", "pos", "head"])
            out[f"ungrouped/{part}"] = patching.generic_activation_patch(
                tl, corrupted, cache, difference, patching.layer_pos_head_vector_patch_setter, part, index_df=index)


def exact_paths(name, processed, out):
    """Path patching by adding what a head writes to another head's own input, before its norm."""
    for part in "qkv":
        tl = model_of(name, processed, use_split_qkv_input=True, ungroup_grouped_query_attention=True)
        corrupted = torch.tensor(CORRUPTED)
        L, H = tl.cfg.n_layers, tl.cfg.n_heads
        result = torch.zeros(L, H, L, H)
        with torch.no_grad():
            _, clean = tl.run_with_cache(torch.tensor(CLEAN))
            _, dirty = tl.run_with_cache(corrupted)
            for sl in range(L):
                for sh in range(H):
                    z = f"blocks.{sl}.attn.hook_z"
                    delta = (clean[z][:, :, sh] - dirty[z][:, :, sh]) @ tl.blocks[sl].attn.W_O[sh]
                    for dl in range(sl + 1, L):
                        for dh in range(H):
                            def add(value, hook, dh=dh):
                                value = value.clone()
                                value[:, :, dh] += delta
                                return value
                            logits = tl.run_with_hooks(corrupted, fwd_hooks=[(f"blocks.{dl}.hook_{part}_input", add)])
                            result[sl, sh, dl, dh] = difference(logits)
        out[f"path/{part}"] = result


def final_paths(tl, out):
    """From every head, MLP and layer's input to the final norm."""
    corrupted = torch.tensor(CORRUPTED)
    with torch.no_grad():
        _, clean = tl.run_with_cache(torch.tensor(CLEAN))
        _, dirty = tl.run_with_cache(corrupted)

        def patched(delta):
            return difference(tl.run_with_hooks(corrupted, fwd_hooks=[
                (f"blocks.{tl.cfg.n_layers - 1}.hook_resid_post", lambda value, hook: value + delta)]))

        L, H = tl.cfg.n_layers, tl.cfg.n_heads
        heads = torch.zeros(L, H)
        for l in range(L):
            for h in range(H):
                z = f"blocks.{l}.attn.hook_z"
                heads[l, h] = patched((clean[z][:, :, h] - dirty[z][:, :, h]) @ tl.blocks[l].attn.W_O[h])
        out["final/heads"] = heads
        for key, site in [("mlps", "hook_mlp_out"), ("resids", "hook_resid_pre")]:
            out[f"final/{key}"] = torch.stack([patched(clean[f"blocks.{l}.{site}"] - dirty[f"blocks.{l}.{site}"]) for l in range(L)])


def frozen_paths(tl, out):
    """3.9's linear approximation; right only where the norm's weight is folded."""
    _, clean = tl.run_with_cache(torch.tensor(CLEAN))
    _, dirty = tl.run_with_cache(torch.tensor(CORRUPTED))
    grouped = tl.cfg.n_key_value_heads is not None
    with torch.no_grad():
        for part in ["q"] if grouped else "qkv":
            out[f"direct/{part}"] = get_act_patch_direct_path_all_sources(tl, torch.tensor(CORRUPTED), clean, dirty, difference,
                                                                          component=part, verbose=False)


def heads(tl, out):
    tl.to_tokens = lambda text, **more: torch.tensor([SEQUENCE])
    custom = torch.tril(torch.rand(len(SEQUENCE), len(SEQUENCE), generator=torch.Generator().manual_seed(3)))
    out["detect/custom_pattern"] = custom
    for measure in ("mul", "abs"):
        for bos in (False, True):
            for current in (False, True):
                options = dict(exclude_bos=bos, exclude_current_token=current, error_measure=measure)
                key = f"{measure}{'.bos' if bos else ''}{'.current' if current else ''}"
                for pattern in HEAD_NAMES:
                    out[f"detect/{pattern}/{key}"] = detect_head(tl, "-", pattern, **options)
                out[f"detect/custom/{key}"] = detect_head(tl, "-", custom, **options)
    out["detect/chosen"] = detect_head(tl, "-", "induction_head", heads=[(0, 1), (1, 2)])


def evaluations(tl, out):
    first = torch.tensor([[5, 9, 20, 33, 41, 60], [7, 3, 90, 12, 55, 8]])
    randint = torch.randint
    torch.randint = lambda *sizes, **more: first
    try:
        class Stub:
            bos_token_id = 1
        with torch.no_grad():
            for bos in (True, False):
                out[f"induction_loss/{bos}".lower()] = evals.induction_loss(tl, Stub(), batch_size=2, subseq_len=6, prepend_bos=bos,
                                                                            device="cpu")
    finally:
        torch.randint = randint


def copying(tl, out):
    """From the eigenvalues of each head's full OV circuit, formed whole."""
    with torch.no_grad():
        scores = torch.zeros(tl.cfg.n_layers, tl.cfg.n_heads)
        for l, block in enumerate(tl.blocks):
            before = block.ln1.w if hasattr(block.ln1, "w") else torch.ones(tl.cfg.d_model)
            after = tl.ln_final.w if hasattr(tl.ln_final, "w") else torch.ones(tl.cfg.d_model)
            for h in range(tl.cfg.n_heads):
                full = (tl.W_E * before).double() @ block.attn.W_V[h].double() @ block.attn.W_O[h].double() @ (after[:, None] * tl.W_U).double()
                values = torch.linalg.eigvals(full)
                scores[l, h] = values.real.sum() / values.abs().sum()
        out["copying"] = scores


def circuits(tl, out):
    for layer, head in [(0, 0), (1, 2)]:
        found = decompose_head(tl, layer, head)
        for which in ("QK", "OV"):
            svd = getattr(found, which)
            prefix = f"svd/{layer}.{head}.{which}"
            out[f"{prefix}/S"], out[f"{prefix}/U"], out[f"{prefix}/V"] = svd.S, svd.U, svd.V
            out[f"{prefix}/blocks"] = torch.tensor([row.block_id for row in svd.rank_report])
            out[f"{prefix}/degenerate"] = torch.tensor([row.is_degenerate for row in svd.rank_report])
    first, second = (kernel.orthonormal_subspace(tl.W_O[0, head].T, rank=4) for head in (0, 1))
    overlap = kernel.projection_kernel(first, second)
    out["kernel/pair"] = torch.stack([overlap.score, overlap.normalized])
    out["kernel/cosines"], out["kernel/angles"] = overlap.cosines, overlap.angles
    # The tool reads a bridge: heads of keys and values as they are kept.
    under = "_" if tl.cfg.n_key_value_heads is not None else ""
    blocks = [SimpleNamespace(attn=SimpleNamespace(W_Q=b.attn.W_Q, W_O=b.attn.W_O, W_K=getattr(b.attn, under + "W_K"), W_V=getattr(b.attn, under + "W_V")))
              for b in tl.blocks]
    bridge = SimpleNamespace(cfg=SimpleNamespace(device="cpu"), blocks_with=lambda part: list(enumerate(blocks)))
    for role in "QKV":
        for order, rank in (("forward", None), ("all", 3)):
            out[f"affinity/{role}.{order}"] = kernel.attention_head_subspace_affinity(bridge, target_role=role, layer_order=order, rank=rank).scores


NAMES_OF_PEOPLE = ["John", "Mary", "Mary Ann", "Tom Lee", "Tom Ray"]
QUESTIONS = [{"question": f"{a} or {b}?", "choices": [a, b, c][:2 + i % 2], "answer": i % 2, "subject": ["store", "market"][i // 3 % 2]}
             for i, (a, b, c) in enumerate([("milk", "eggs", "bread"), ("store", "market", "milk"), ("John", "Mary", "Tom"),
                                            ("bread", "went", "gave"), ("the", "to", "and"), ("Lee", "Ray", "Ann"),
                                            ("eggs", "buy", "handed"), ("market", "milk", "John")])]


def tokenizer():
    """Words, with the space before them, in as many tokens."""
    folder = ROOT / "experiments" / "tokenizer"
    words = "John Mary Ann Tom Lee Ray store market milk eggs bread Then and went to the buy handed gave or Question Choices Answer A B C D".split()
    pieces = ["<unk>", "<bos>", "\n"] + words + [" " + word for word in words] + [".", ",", "?", ":"]
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\n| ?[A-Za-z]+|[.,:?]"), "isolated")
    raw.decoder = tokenizers.decoders.Fuse()
    raw.add_special_tokens(["<bos>"])
    assert len(pieces) <= hf_models.VOCAB
    folder.mkdir(exist_ok=True)
    raw.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<bos>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}) + "\n")
    return transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), bos_token="<bos>", unk_token="<unk>")


def text_evaluations(tl, out, document):
    words = tokenizer()
    samples = []
    for names, symmetric in ((NAMES_OF_PEOPLE, False), (NAMES_OF_PEOPLE, True), (None, True)):
        dataset = evals.IOIDataset(words, names=names, num_samples=24, symmetric=symmetric, seed=4)
        # A name that begins another has no token to be told apart by; 3.9 fails on such a pair.
        dataset.samples = [s for s in dataset.samples if not (s["IO"].startswith(s["S"]) or s["S"].startswith(s["IO"]))]
        with torch.no_grad():
            result = evals.ioi_eval(tl, dataset, batch_size=5, tokenizer=words)
        out[f"ioi/{len(samples)}"] = torch.tensor([result["Logit Difference"], result["Accuracy"]])
        samples.append(dataset.samples)
    document["ioi"] = samples
    document["questions"] = QUESTIONS
    right = []
    for question in QUESTIONS:
        evals.make_mmlu_data_loader = lambda **more: [question]
        right.append(evals.mmlu_eval(tl, words)["num_correct"])
    out["letters"] = torch.tensor(right)


def make(name):
    document = {"clean": CLEAN, "corrupted": CORRUPTED, "answers": ANSWERS, "wrong": WRONG, "sequence": SEQUENCE}
    tensors = {}
    for processed in (False, True):
        out = {}
        tl = model_of(name, processed)
        sweeps(tl, out)
        exact_paths(name, processed, out)
        final_paths(tl, out)
        if tl.cfg.n_key_value_heads is not None:
            ungrouped(name, processed, out)
        if processed:
            frozen_paths(tl, out)
        heads(tl, out)
        evaluations(tl, out)
        copying(tl, out)
        if not processed:
            circuits(tl, out)
        if tl.cfg.n_ctx >= 32:
            text_evaluations(tl, out, document)
        prefix = "processed" if processed else "plain"
        tensors.update({f"{prefix}/{key}": value.detach().float().contiguous().clone() for key, value in out.items()})
    folder = ROOT / "experiments"
    (folder / f"{name}.json").write_text(json.dumps(document) + "\n")
    save_file(tensors, folder / f"{name}.safetensors")
    return f"{name:16} {len(tensors)} tensors, {sum(t.numel() for t in tensors.values())} numbers"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="make this model alone (repeatable)")
    chosen = parser.parse_args().only
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for name in NAMES:
        if not chosen or name in chosen:
            print(make(name), flush=True)


if __name__ == "__main__":
    sys.exit(main())
