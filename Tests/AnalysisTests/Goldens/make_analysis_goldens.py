"""Makes the goldens of the analyses: three tiny random models, each raw and processed, and what TransformerLens 3.9.0 gives
for every method and option over their caches and weights. README.md says what the files are.

    python make_analysis_goldens.py [--stories FOLDER]

Runs on one thread, needs no network and writes only beside itself.
"""

import argparse
import json
import logging
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformer_lens import HookedTransformer, HookedTransformerConfig, SVDInterpreter
from transformer_lens import utilities as utils

ROOT = Path(__file__).resolve().parent
SHARED = dict(n_layers=2, d_model=12, n_ctx=8, d_head=4, d_vocab=19, d_mlp=10, seed=0, device="cpu")
MODELS = {
    "gpt2": dict(n_heads=3, act_fn="gelu_new", normalization_type="LN"),
    "llama": dict(n_heads=4, n_key_value_heads=2, act_fn="silu", gated_mlp=True, normalization_type="RMS",
                  positional_embedding_type="rotary", rotary_dim=4, rotary_adjacent_pairs=False, final_rms=True, eps=1e-6),
    "pythia": dict(n_heads=3, act_fn="gelu", normalization_type="LN", positional_embedding_type="rotary", rotary_dim=2,
                   parallel_attn_mlp=True),
}
FLAGS = ["fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases", "refactor_factored_attn_matrices"]
TOKENS = [[3, 1, 4, 15], [9, 2, 6, 5]]


def random_state(config, seed):
    """A state dict in which nothing is zero or one by chance."""
    model = HookedTransformer(HookedTransformerConfig(**config))
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, value in model.state_dict().items():
        if name.split(".")[-1] in ("mask", "IGNORE", "rotary_sin", "rotary_cos"):
            continue
        noise = torch.randn(value.shape, generator=generator)
        is_norm = ".ln" in name or name.startswith("ln_final")
        if is_norm:
            state[name] = (1 + 0.3 * noise) if name.endswith(".w") else 0.3 * noise
        elif value.dim() >= 2 and ".b_" not in name:
            state[name] = noise * (value.shape[-2] ** -0.5 if "embed" not in name or "unembed" in name else 0.7)
        else:
            state[name] = 0.2 * noise
    return state


def build(config, state, **flags):
    model = HookedTransformer(HookedTransformerConfig(**config))
    every = {flag: flags.get(flag, False) for flag in FLAGS}
    model.load_and_process_state_dict(dict(state), **every)
    return model.eval()


class Golden:
    def __init__(self):
        self.tensors, self.cases = {}, []

    def add(self, method, args, result, labels=None):
        name = f"{len(self.cases):03}"
        result = result.detach() if torch.is_tensor(result) else torch.tensor(result)
        if result.is_complex():
            result = torch.view_as_real(result)
        self.tensors[name] = result.to(torch.float32).contiguous().clone()
        case = {"method": method, "args": args, "tensor": name}
        if labels is not None:
            case["labels"] = list(labels)
        self.cases.append(case)


def as_slice(value):
    """JSON has no tuples: {"span": [1, 3]} is one."""
    return tuple(value["span"]) if isinstance(value, dict) else value


def call(golden, cache, method, **args):
    real = {k: as_slice(v) if k.endswith("_slice") else v for k, v in args.items()}
    out = getattr(cache, method)(**real, return_labels=True)
    golden.add(method, args, *out)
    return out


def cache_cases(golden, model, cache, hidden):
    parallel = model.cfg.parallel_attn_mlp
    batched = cache.has_batch_dim
    streams = [{}, {"layer": 1, "apply_ln": True}, {"apply_ln": True, "pos_slice": -1}, {"layer": 0, "pos_slice": [1, 3]}, {"layer": -1, "pos_slice": {"span": [1, 3]}}]
    if not parallel:
        streams += [{"incl_mid": True, "pos_slice": 0}, {"layer": 1, "mlp_input": True, "apply_ln": True, "pos_slice": -1}]
    parts = [{}, {"layer": 1}, {"mode": "mlp", "pos_slice": -1}, {"mode": "attn", "incl_embeds": False, "pos_slice": [0]}, {"apply_ln": True, "pos_slice": -1},
             {"layer": 1, "apply_ln": True, "pos_slice": {"span": [2]}}]
    if not parallel:
        parts += [{"layer": 1, "mlp_input": True, "apply_ln": True, "pos_slice": 1}]
    heads = [{"pos_slice": -1}, {"layer": 1, "incl_remainder": True, "pos_slice": [0, 2]}, {"incl_remainder": True, "apply_ln": True, "pos_slice": -1}, {"layer": 0, "pos_slice": 2}]
    vector, columns = hidden["vector"], hidden["columns"]
    neurons = [{"layer": -1, "pos_slice": -1}, {"layer": 1, "neuron_slice": [0, 4], "incl_remainder": True, "apply_ln": True, "pos_slice": 0},
               {"layer": 2, "neuron_slice": {"span": [3, 5]}, "incl_remainder": True, "pos_slice": 1}]
    full = [{"pos_slice": -1}, {"layer": 1, "expand_neurons": False, "apply_ln": True, "pos_slice": 0}, {"expand_neurons": False, "pos_slice": [1, 2]},
            {"layer": 0, "pos_slice": 1}]
    if not parallel:
        full += [{"layer": 1, "mlp_input": True, "apply_ln": True, "pos_slice": -1}]
    for args in streams:
        call(golden, cache, "accumulated_resid", **args)
    for args in parts:
        call(golden, cache, "decompose_resid", **args)
    for args in heads:
        call(golden, cache, "stack_head_results", **args)
    for args in neurons:
        call(golden, cache, "stack_neuron_results", **args)
    for args in full:
        call(golden, cache, "get_full_resid_decomposition", **args)
    for name, direction in (("vector", vector), ("columns", columns)):
        for method, args in [("stack_neuron_results", {"layer": 2, "apply_ln": True, "incl_remainder": True, "pos_slice": -1}),
                             ("stack_neuron_results", {"layer": 1, "neuron_slice": [7], "incl_remainder": True, "pos_slice": 0}),
                             ("get_full_resid_decomposition", {"apply_ln": True, "pos_slice": [0]}), ("get_full_resid_decomposition", {"layer": 1})]:
            real = {k: as_slice(v) if k.endswith("_slice") else v for k, v in args.items()}
            out = getattr(cache, method)(**real, project_output_onto=direction, return_labels=True)
            golden.add(method, {**args, "project_output_onto": name}, *out)
        golden.add("get_neuron_results", {"layer": 1, "pos_slice": -1, "project_output_onto": name}, cache.get_neuron_results(1, pos_slice=-1, project_output_onto=direction))
    for args in [{"layer": 0, "pos_slice": -1}, {"layer": 1, "neuron_slice": [1, 2]}, {"layer": 1, "neuron_slice": 3, "pos_slice": 0}]:
        golden.add("get_neuron_results", args, cache.get_neuron_results(args["layer"], neuron_slice=args.get("neuron_slice"), pos_slice=args.get("pos_slice")))
    golden.add("stack_activation", {"name": "z", "layer": 1}, cache.stack_activation("z", 1))
    golden.add("stack_activation", {"name": "scale", "type": "ln1"}, cache.stack_activation("scale", -1, "ln1"))
    attr_cases(golden, model, cache, batched)


def attr_cases(golden, model, cache, batched):
    stack = cache.decompose_resid()
    last = cache.decompose_resid(pos_slice=-1)
    tokens = [[7, 0, 2, 18], [1, 1, 5, 3]] if batched else [7, 0, 2, 18]
    wrong = [[2, 4, 9, 8], [3, 0, 0, 10]] if batched else [2, 4, 9, 8]
    cases = [(stack, {"tokens": 5}), (stack, {"tokens": 5, "incorrect_tokens": 6}), (stack, {"tokens": tokens}), (stack, {"tokens": tokens, "incorrect_tokens": wrong}),
             (last, {"tokens": 11, "pos_slice": -1})]
    if batched:
        cases += [(last, {"tokens": [4, 12], "incorrect_tokens": [8, 0], "pos_slice": -1}), (stack, {"tokens": 5, "batch_slice": 1}), (last, {"tokens": 5, "batch_slice": [1], "pos_slice": -1})]
    for residual, args in cases:
        real = {k: torch.tensor(v) if k.endswith("tokens") and isinstance(v, list) else v for k, v in args.items()}
        golden.add("logit_attrs", args, cache.logit_attrs(residual, has_batch_dim=batched, **real))
    for args in [{"layer": 1}, {"layer": 0, "mlp_input": True}, {"recompute_ln": True}, {"layer": -1, "pos_slice": -1, "batch_slice": 0}]:
        residual = last if "pos_slice" in args else stack
        if not batched:
            args = {k: v for k, v in args.items() if k != "batch_slice"}
        golden.add("apply_ln_to_stack", args, cache.apply_ln_to_stack(residual, has_batch_dim=batched, **args))


def weight_cases(golden, model):
    for args in [{"layer": 0}, {"layer": 2}, {"layer": 2, "include_mlp_biases": False}] + ([] if model.cfg.parallel_attn_mlp else [{"layer": 1, "mlp_input": True}]):
        golden.add("accumulated_bias", args, model.accumulated_bias(**args))
    for mode in "QKV":
        golden.add("all_composition_scores", {"mode": mode}, model.all_composition_scores(mode))
    for tokens in (4, [4, 7], [[1, 2], [3, 4]]):
        golden.add("tokens_to_residual_directions", {"tokens": tokens}, model.tokens_to_residual_directions(torch.tensor(tokens)))
    for name in ("W_Q", "W_K", "W_V", "W_O", "b_Q", "b_K", "b_V", "b_O", "W_in", "W_out", "b_in", "b_out", "W_U", "b_U", "W_E") + (("W_gate",) if model.cfg.gated_mlp else ()):
        value = getattr(model, name)
        golden.add("weight", {"name": name}, value[1] if value.shape[0] == 2 else value)
    if model.cfg.positional_embedding_type == "standard":
        golden.add("weight", {"name": "W_E_pos"}, model.W_E_pos)
    for name in ("QK", "OV"):
        matrix = getattr(model, name)
        golden.add("factored", {"name": name, "of": "S"}, matrix.S)
        golden.add("factored", {"name": name, "of": "norm"}, matrix.norm())
        golden.add("factored", {"name": name, "of": "eigenvalues"}, matrix.eigenvalues)
        golden.add("factored", {"name": name, "of": "U"}, matrix.U)
        golden.add("factored", {"name": name, "of": "V"}, matrix.svd()[2])
        golden.add("factored", {"name": name, "of": "corner"}, matrix.get_corner())
        golden.add("factored", {"name": name, "of": "even"}, matrix.make_even().AB[1, 0])
        golden.add("factored", {"name": name, "of": "collapse_l"}, matrix.collapse_l()[1, 0])
        golden.add("factored", {"name": name, "of": "collapse_r"}, matrix.collapse_r()[1, 0])
    interpreter = SVDInterpreter(model)
    if model.cfg.n_key_value_heads is None:  # 3.9 looks for a W_V that grouped heads do not have
        golden.add("svd_interpreter", {"kind": "OV", "layer": 1, "head": 1, "count": 3}, interpreter.get_singular_vectors("OV", 1, num_vectors=3, head_index=1))
    for kind in ("w_in", "w_out"):
        golden.add("svd_interpreter", {"kind": kind, "layer": 0, "count": 4}, interpreter.get_singular_vectors(kind, 0, num_vectors=4))


def text_cases(golden, logits, tokens):
    mask = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
    golden.add("lm_cross_entropy_loss", {}, utils.lm_cross_entropy_loss(logits, tokens))
    golden.add("lm_cross_entropy_loss", {"per_token": True}, utils.lm_cross_entropy_loss(logits, tokens, per_token=True))
    golden.add("lm_cross_entropy_loss", {"mask": mask.tolist()}, utils.lm_cross_entropy_loss(logits, tokens, mask))
    golden.add("lm_cross_entropy_loss", {"mask": mask.tolist(), "per_token": True}, utils.lm_cross_entropy_loss(logits, tokens, mask, per_token=True))
    targets = tokens.clone()
    targets[0, 1:] = logits[0, :-1].argmax(-1)
    golden.add("lm_accuracy", {"tokens": targets.tolist()}, utils.lm_accuracy(logits, targets))
    golden.add("lm_accuracy", {"tokens": targets.tolist(), "per_token": True}, utils.lm_accuracy(logits, targets, per_token=True).to(torch.float32))


def lens_cases(golden, model, cache, logits):
    """The logit lens, direct logit attribution and pattern statistics, from their definitions and TransformerLens' parts."""
    parallel = model.cfg.parallel_attn_mlp
    stack, labels = cache.accumulated_resid(incl_mid=not parallel, apply_ln=True, return_labels=True)
    log_probs = model.unembed(stack.flatten(0, 1)).reshape(*stack.shape[:-1], -1).log_softmax(-1)
    probs, final = log_probs.exp(), logits.log_softmax(-1)
    targets = torch.tensor([[7, 0, 2, 18], [1, 1, 5, 3]])
    picked = log_probs.gather(-1, targets.expand(log_probs.shape[0], -1, -1)[..., None])
    golden.add("lens", {"of": "entropy"}, -(probs * log_probs).sum(-1), labels)
    golden.add("lens", {"of": "kl"}, (final.exp() * (final - log_probs)).sum(-1))
    golden.add("lens", {"of": "rank", "targets": targets.tolist()}, (log_probs > picked).sum(-1))
    golden.add("lens", {"of": "log_prob", "targets": targets.tolist()}, picked[..., 0])
    top = log_probs.topk(3, dim=-1)
    golden.add("lens", {"of": "top_tokens"}, top.indices)
    golden.add("lens", {"of": "top_log_probs"}, top.values)
    for pos in (-1, 1):
        correct, wrong = torch.tensor([4, 12]), torch.tensor([8, 0])
        rows = torch.arange(2)
        golden.add("attribution", {"of": "total", "pos": pos, "correct": [4, 12], "incorrect": [8, 0]}, logits[rows, pos, correct] - logits[rows, pos, wrong])
        golden.add("attribution", {"of": "total", "pos": pos, "correct": [5]}, logits[:, pos, 5])
        if model.cfg.normalization_type.endswith("Pre"):
            for unit, (parts, names) in {"component": cache.decompose_resid(pos_slice=pos, return_labels=True),
                                         "head": cache.get_full_resid_decomposition(expand_neurons=False, pos_slice=pos, return_labels=True),
                                         "neuron": cache.get_full_resid_decomposition(pos_slice=pos, return_labels=True)}.items():
                attrs = cache.logit_attrs(parts, correct, wrong, pos_slice=pos)
                constant = (model.b_U[correct] - model.b_U[wrong])[None]
                golden.add("attribution", {"of": unit, "pos": pos, "correct": [4, 12], "incorrect": [8, 0]}, torch.cat([attrs, constant]), names + ["unembed_bias"])
    pattern = torch.stack([cache["pattern", layer] for layer in range(model.cfg.n_layers)])  # [layer, batch, head, query, key]
    size = pattern.shape[-1]
    safe = pattern.clamp(min=1e-30).log()
    entropy = -(pattern * safe).sum(-1)
    places = torch.arange(size)
    golden.add("pattern", {"of": "entropy"}, entropy.mean((1, 3)))
    golden.add("pattern", {"of": "relative_entropy"}, (entropy[..., 1:] / (places[1:] + 1).log()).mean((1, 3)))
    golden.add("pattern", {"of": "diagonal"}, pattern.diagonal(dim1=-2, dim2=-1).mean((1, 3)))
    golden.add("pattern", {"of": "previous_token"}, pattern.diagonal(-1, dim1=-2, dim2=-1).mean((1, 3)))
    golden.add("pattern", {"of": "first_token"}, pattern[..., 1:, 0].mean((1, 3)))
    golden.add("pattern", {"of": "distance"}, (pattern * (places[:, None] - places[None]).abs()).sum(-1).mean((1, 3)))
    golden.add("pattern", {"of": "largest"}, pattern.amax(-1).mean((1, 3)))


def make(name, seed):
    config = {**SHARED, **MODELS[name]}
    state = random_state(config, seed)
    folder = ROOT / name
    folder.mkdir(exist_ok=True)
    raw = build(config, state)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "state_dict.safetensors")
    fields = {key: value for key, value in raw.cfg.to_dict().items() if key not in ("dtype", "device")}
    (folder / "tl_config.json").write_text(json.dumps(fields, indent=1, default=str))
    processed_states(name, config, state, folder)
    generator = torch.Generator().manual_seed(9)
    hidden = {"vector": torch.randn(12, generator=generator), "columns": torch.randn(12, 2, generator=generator)}
    every = {}
    for kind, flags in (("raw", {}), ("processed", {flag: True for flag in FLAGS[:4]})):
        model, golden = build(config, state, **flags), Golden()
        tokens = torch.tensor(TOKENS)
        logits, cache = model.run_with_cache(tokens)
        cache_cases(golden, model, cache, hidden)
        cache.compute_head_results()
        golden.add("head_results", {"layer": 1}, cache["result", 1])
        weight_cases(golden, model)
        lens_cases(golden, model, cache, logits)
        golden.tensors["vector"], golden.tensors["columns"] = hidden["vector"], hidden["columns"]
        golden.tensors["logits"] = logits.detach()
        golden.add("logits_to_df", {"top_k": 6}, torch.tensor(utils.logits_to_df(logits[0, -1], top_k=6).values))
        if kind == "raw":
            text_cases(golden, logits.detach(), tokens)
        write(golden, folder / kind)
        if kind == "processed":
            golden = Golden()
            _, cache = model.run_with_cache(tokens[:1], remove_batch_dim=True)
            cache_cases(golden, model, cache, hidden)
            golden.tensors["vector"], golden.tensors["columns"] = hidden["vector"], hidden["columns"]
            write(golden, folder / "one-row")
        every[kind] = len(golden.cases)
    print(name, every, sum(f.stat().st_size for f in folder.iterdir()) // 1024, "KB")


def make_stories(path):
    """What test_prompt prints about a real model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    import contextlib, io, sys
    sys.path.insert(0, str(ROOT.parents[1] / "ModelTests" / "Goldens"))
    from goldenmaker.tl_models import to_tl
    model = to_tl(AutoModelForCausalLM.from_pretrained(path).eval())
    model.set_tokenizer(AutoTokenizer.from_pretrained(path))
    cases = []
    for prompt, answer, more in [("Once upon a time, there was a little", "girl", {}), ("Lily and Tom went to the", "park and", {"top_k": 3}),
                                 ("One day, a", ["boy", "girl", "dog"], {"top_k": 4}), ("Tom was", " happy", {"prepend_space_to_answer": False, "prepend_bos": False})]:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            utils.test_prompt(prompt, answer, model, **more)
        cases.append({"prompt": prompt, "answer": answer, **more, "printed": printed.getvalue()})
    (ROOT / "stories260K.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")


def write(golden, path):
    save_file({key: value.contiguous() for key, value in golden.tensors.items()}, f"{path}.safetensors")
    lines = ",\n".join(json.dumps(case) for case in golden.cases)
    Path(f"{path}.json").write_text('{"tokens": %s, "cases": [\n%s\n]}\n' % (json.dumps(TOKENS), lines))


def processed_states(name, config, state, folder):
    """What each flag by itself, and the default ones together, make of the state dict: parameters that change."""
    combinations = {flag: [flag] for flag in FLAGS if name == "gpt2" or flag != FLAGS[4]}
    if name == "llama":
        del combinations["center_writing_weights"]  # not exact under RMS norms; TransformerLens passes it over
    combinations["all"] = FLAGS[:4]
    if name == "gpt2":
        combinations["refactored"] = FLAGS
    tensors = {}
    for key, flags in combinations.items():
        after = build(config, state, **{flag: True for flag in flags}).state_dict()
        for parameter, value in after.items():
            if parameter.split(".")[-1] in ("mask", "IGNORE", "rotary_sin", "rotary_cos"):
                continue
            if parameter not in state or not torch.equal(state[parameter], value):
                tensors[f"{key}/{parameter}"] = value.contiguous().clone()
    save_file(tensors, folder / "processed_states.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_grad_enabled(False)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stories", type=Path, help="the folder of stories260K: makes stories260K.json, nothing else")
    stories = parser.parse_args().stories
    if stories:
        make_stories(stories)
        raise SystemExit
    for number, model_name in enumerate(MODELS):
        make(model_name, 100 + number)
