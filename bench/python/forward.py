"""Times Hugging Face transformers and TransformerLens on one model folder. JSON on stdout.

    python forward.py FOLDER [--threads 2] [--who hf|tl]... [--work NAME]... [--seconds S] [--dump FILE]

Works: forward 1x16, 1x128, 8x128, 1x1024 (logits of every position), run_with_cache 1x128 (TransformerLens alone),
generate (greedy, 16 tokens then 32 new ones, with a cache; the time of a pass over the prompt alone is `prefill_s`).
`once` is a single pass 1x128, for the time from start to first logits. Each other work is run once to warm up and then for `--seconds`, three times at least; the median is reported, and the best, and every run.
`--dump` first writes tokens and both programs' logits of 1x16 and 1x128 as safetensors (`1x16.tokens`, `1x16.hf`,
`1x16.tl`), to check another program against before it is timed.
"""

import argparse
import json
import resource
import statistics
import sys
import time

FORWARDS = {"1x16": (1, 16), "1x128": (1, 128), "8x128": (8, 128), "1x1024": (1, 1024)}
BACKWARDS = ["backward-1x128", "backward-activations-1x128", "attribution-1x128"]
WORKS = [*FORWARDS, "cache-1x128", "cache-one-1x128", *BACKWARDS, "generate", "once"]
PROMPT, NEW = 16, 32


def timed(call, seconds):
    """Median, best and all times of `call`, after one run that is not counted. `cpu_per_wall` is processor time
    over elapsed time: well under the thread count, the machine was busy with something else."""
    call()
    runs, start, cpu = [], time.perf_counter(), time.process_time()
    while len(runs) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        runs.append(time.perf_counter() - before)
    share = (time.process_time() - cpu) / (time.perf_counter() - start)
    return {"median_s": statistics.median(runs), "best_s": min(runs), "cpu_per_wall": round(share, 2),
            "runs_s": [round(run, 5) for run in runs]}


def forward_call(who, model, batch):
    if who == "hf":
        return lambda: model(batch, use_cache=False).logits
    return lambda: model(batch)


def generate_call(who, model, prompt):
    import torch
    if who == "hf":
        mask = torch.ones_like(prompt)
        return lambda: model.generate(prompt, attention_mask=mask, max_new_tokens=NEW, min_new_tokens=NEW,
                                      do_sample=False, pad_token_id=0)
    return lambda: model.generate(prompt, max_new_tokens=NEW, do_sample=False, stop_at_eos=False, verbose=False)


def backward(model, batch, work):
    """The loss, or for attribution the difference of two logits of the last position, and its gradients: of every parameter, or of
    every residual stream before a block (cached, as backward hooks do)."""
    import torch
    of_parameters = work == "backward-1x128"

    def metric():
        if work != "attribution-1x128":
            return model(batch, return_type="loss")
        last = model(batch)[0, -1]
        return last[17] - last[42]

    with torch.inference_mode(False), torch.enable_grad():
        batch = batch.clone()
        model.zero_grad(set_to_none=True)
        model.requires_grad_(of_parameters)
        if of_parameters:
            metric().backward()
            return
        with model.hooks(fwd_hooks=[("hook_embed", lambda embed, hook: embed.requires_grad_(True))]):
            cache = model.add_caching_hooks(lambda name: name.endswith("hook_resid_pre"), incl_bwd=True)
            try:
                metric().backward()
            finally:
                model.reset_hooks()
        del cache


def measure(who, model, work, vocabulary, seconds):
    """One result, or None where the program has no such work."""
    from peers import tokens
    if work in FORWARDS:
        return timed(forward_call(who, model, tokens(*FORWARDS[work], vocabulary)), seconds)
    if work == "cache-1x128":
        batch = tokens(1, 128, vocabulary)
        return timed(lambda: model.run_with_cache(batch), seconds) if who == "tl" else None
    if work == "cache-one-1x128":
        batch = tokens(1, 128, vocabulary)
        one = "blocks.5.hook_resid_post"
        return timed(lambda: model.run_with_cache(batch, names_filter=one), seconds) if who == "tl" else None
    if work in BACKWARDS:
        batch = tokens(1, 128, vocabulary)
        return timed(lambda: backward(model, batch, work), seconds) if who == "tl" else None
    if work == "once":
        start = time.perf_counter()
        forward_call(who, model, tokens(1, 128, vocabulary))()
        return {"median_s": time.perf_counter() - start}
    prompt = tokens(1, PROMPT, vocabulary)
    result = timed(generate_call(who, model, prompt), seconds)
    prefill = timed(forward_call(who, model, prompt), seconds / 2)["median_s"]
    return {**result, "prefill_s": prefill, "tokens_per_s": NEW / result["median_s"],
            "decode_tokens_per_s": (NEW - 1) / max(result["median_s"] - prefill, 1e-9)}


def dump(path, models, vocabulary):
    """Writes tokens and logits, and says on stderr how far apart the programs are."""
    from peers import tokens
    from safetensors.torch import save_file
    out = {}
    for work in ("1x16", "1x128"):
        batch = tokens(*FORWARDS[work], vocabulary)
        out[f"{work}.tokens"] = batch
        for who, model in models.items():
            out[f"{work}.{who}"] = forward_call(who, model, batch)().clone().contiguous()
        if len(models) == 2:
            apart = (out[f"{work}.hf"] - out[f"{work}.tl"]).abs().max() / out[f"{work}.hf"].abs().max()
            print(f"{work}: relative difference of hf and tl {apart:.1e}", file=sys.stderr)
    save_file(out, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--who", action="append", choices=["hf", "tl"])
    parser.add_argument("--work", action="append", choices=WORKS)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--dump")
    parser.add_argument("--serve", action="store_true", help="answer lines `WHO WORK SECONDS` on stdin")
    arguments = parser.parse_args()
    start = time.perf_counter()
    import torch
    import transformers  # noqa: F401
    imported = time.perf_counter() - start
    from peers import load_hf, load_tl, versions
    torch.set_num_threads(arguments.threads)
    hf = load_hf(arguments.folder)
    vocabulary, longest = hf.config.vocab_size, hf.config.max_position_embeddings
    who = arguments.who or ["hf", "tl"]
    models = {name: hf if name == "hf" else load_tl(hf) for name in who}
    report = {"versions": versions(), "threads": arguments.threads, "import_s": imported, "results": []}
    with torch.inference_mode():
        if arguments.dump:
            dump(arguments.dump, models, vocabulary)
        if arguments.serve:
            for line in sys.stdin:
                name, work, seconds = line.split()
                print(json.dumps(measure(name, models[name], work, vocabulary, float(seconds)) or {}), flush=True)
            return
        for work in arguments.work or WORKS:
            needed = PROMPT + NEW if work == "generate" else FORWARDS.get(work, (1, 128))[1]
            if needed > longest:
                print(f"{work}: the model has only {longest} positions", file=sys.stderr)
                continue
            for name, model in models.items():
                result = measure(name, model, work, vocabulary, arguments.seconds)
                if result:
                    report["results"].append({"who": name, "work": work, **result})
                    print(f"{name} {work}: {result['median_s']:.4f} s", file=sys.stderr)
    report["peak_memory_bytes"] = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
