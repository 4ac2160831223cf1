"""Everything bench/ measures, in one table: work, ours, each peer, the ratio, and the share of what the machine can do.

    python bench.py MODELS [--quick] [--only REGEX] [--rounds 3] [--seconds 2] [--json FILE] [--table FILE] [--plot FILE]

MODELS is what setup.sh made. Programs on the same weights run side by side: each stays loaded, and they take turns at each
work, `--rounds` times round, so that a slow minute of the machine falls on all of them; of each program the best round's
median counts. Logits are compared before anything is timed. The machine's own limits, a large sgemm (the better of PyTorch's and
OpenBLAS') and memory read (lens-bench machine), are measured first and last, the better counts; reads also right before and after
works that memory sets the pace of, and there those count, as memory's pace changes with a shared machine's neighbours. A ratio is a peer's time over ours; the bar beside it is the
project's own aim, and is also met at 80 % of the limit. `--quick` leaves out long works, TransformerLens and the scale.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import plot
import report

HERE = Path(__file__).resolve().parent
LENS = Path(os.environ.get("LENS_BENCH", HERE.parent / ".build" / "release" / "lens-bench"))
FORMATS = ["f32", "f16", "q8_0", "q4_0"]
# GPT-2 small and the LLaMA: parameters that multiply (per token), of the output, and the width of attention.
BLOCKS, OUTPUT, LAYERS, WIDTH = 84_934_656, {"gpt2": 38_597_376, "llama": 24_576_000}, 12, 768
# Of a prefill's last block all positions have keys and values, and only the last one the rest.
PREFILLED = BLOCKS * (LAYERS - 1) // LAYERS + 2 * WIDTH * WIDTH


def run(command, **environment):
    return json.loads(subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, check=True, env={**os.environ, **environment}).stdout)


class Worker:
    """A program that stays loaded and answers one line with one line."""

    def __init__(self, command, *prefix):
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.prefix = prefix

    def ask(self, work, seconds):
        print(*self.prefix, work, seconds, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args[0]} ended at {work}")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Bench:
    def __init__(self, arguments):
        self.arguments, self.rows, self.limits = arguments, [], {}
        self.threads = ["--threads", arguments.threads]

    def wanted(self, name):
        return re.search(self.arguments.only, name) is not None

    def measure_limits(self):
        machine = run([LENS, "machine", *self.threads])
        sgemm = [sys.executable, HERE / "torch_kernels.py", *self.threads, "--work", "sgemm", "--seconds", 2]
        # An OpenBLAS older than the processor takes its AVX2 kernels, half as fast, unless it is told of others.
        wide = {"OPENBLAS_CORETYPE": "SKYLAKEX"} if " avx512f" in processor_file() else {}
        products = run(sgemm, **wide)["results"]
        found = {"fma_gflops": machine["fma_gflops"], "read_gb_per_s": machine["read_gb_per_s"], "sgemm_gflops": max(result["gflops"] for result in products)}
        self.limits = {name: max(value, self.limits.get(name, 0)) for name, value in found.items()}

    def read_limit(self, work):
        """GB/s that memory gives just now, for works that wait for it."""
        return run([LENS, "machine", *self.threads])["read_gb_per_s"] if work in ("decode", "generate", "1x16") else 0

    def turns(self, works, workers, seconds=None):
        """Best median of each program at each work. workers: {name: Worker}; a program may lack a work."""
        best = {}
        for work in works:
            before = self.read_limit(work)
            for _ in range(self.arguments.rounds):
                for name, worker in workers.items():
                    if best.get((work, name), 0) is None:
                        continue
                    time.sleep(0.25)  # let the last program's threads stop spinning
                    result = worker.ask(work, seconds or self.arguments.seconds)
                    median = result.get("median_s")
                    best[work, name] = min(median, best.get((work, name), float("inf"))) if median else None
            best[work, "read"] = max(before, self.read_limit(work))
            print(f"{work}: " + ", ".join(f"{name} {1e3 * best[work, name]:.2f} ms" for name in workers if best.get((work, name))), file=sys.stderr)
        return best

    def row(self, work, ours, peers=None, bars=None, flops=None, read=None, **more):
        self.rows.append({"work": work, "ours_s": ours, "peers_s": peers or {}, "bars": bars or {}, "flops": flops, "bytes": read, **more})

    # GPT-2 small beside TransformerLens and Hugging Face

    def gpt2(self):
        folder = self.arguments.models / "gpt2-small"
        peers = ["hf"] if self.arguments.quick else ["hf", "tl"]
        with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
            dump = Path(scratch) / "peers.safetensors"
            script = [sys.executable, HERE / "forward.py", folder, *self.threads]
            run([*script, "--who", "hf", "--work", "once", "--dump", dump])
            run([LENS, "forward", folder, "--work", "once", "--check", dump])
            workers = {"lens": Worker([LENS, "forward", folder, *self.threads, "--serve"])}
            for name in peers:
                workers[name] = Worker([*script, "--who", name, "--serve"], name)
            for worker in workers.values():
                stack.callback(worker.close)
            works = ["1x16", "1x128", "generate", "cache-1x128", "cache-one-1x128"] + ([] if self.arguments.quick else ["8x128", "1x1024", "backward-1x128", "backward-activations-1x128", "attribution-1x128", "cache-first-1x128"])
            works = [work for work in works if self.wanted(f"gpt2 {work}")]
            own = {"lens": workers["lens"]}
            best = self.turns([work for work in works if not work.startswith("cache-first")], workers)
            best.update(self.turns([work for work in works if work.startswith("cache-first")], own))
        self.gpt2_rows(best, peers)

    def gpt2_rows(self, best, peers):
        bars = {"1x16": (8, 2.5), "1x128": (3, 1.5), "8x128": (1.5, 1.2), "1x1024": (2.9, 1.25)}

        def of(work):
            return {name: best[work, name] for name in peers if best.get((work, name))}
        for work, (tl, hf) in bars.items():
            if (work, "lens") in best:
                batch, pos = map(int, work.split("x"))
                flops = 2 * batch * pos * (BLOCKS + OUTPUT["gpt2"]) + LAYERS * batch * 2 * pos * pos * WIDTH
                self.row(f"forward {batch}×{pos}", best[work, "lens"], of(work), {"tl": tl, "hf": hf}, flops=flops,
                         read=4 * (BLOCKS + OUTPUT["gpt2"]) if pos < 128 else None, read_gb_per_s=best[work, "read"])
        if ("generate", "lens") in best:
            self.row("greedy generation, 16 + 32 tokens, fp32", best["generate", "lens"], of("generate"), {"tl": 8, "hf": 2}, read=32 * 4 * (BLOCKS + OUTPUT["gpt2"]), read_gb_per_s=best["generate", "read"])
        forward = best.get(("1x128", "lens"))
        for work, name, most in (("cache-1x128", "every activation cached, 1×128", 1.15), ("cache-one-1x128", "one activation cached, 1×128, by the clock", None),
                                 ("cache-first-1x128", "every activation cached, the first time", 1.5)):
            if forward and (work, "lens") in best:
                self.row(name, best[work, "lens"], of(work), of_own=best[work, "lens"] / forward, at_most=most)

        for work, name, bar in (("backward-1x128", "loss and gradients of all parameters, 1×128", 2.5),
                                ("backward-activations-1x128", "loss and gradients of residual streams, 1×128", 4),
                                ("attribution-1x128", "difference of two last logits and gradients of residual streams, 1×128", 4)):
            if (work, "lens") in best:
                self.row(name, best[work, "lens"], of(work), {"tl": bar})

    # The LLaMA beside llama.cpp

    def llama(self):
        bars = {"decode": {"f32": 1.2, "f16": 1.1, "q8_0": 1.5, "q4_0": 1.25}, "prefill": {"f32": 2, "f16": 2, "q8_0": 2.5, "q4_0": 2}}
        for kind in FORMATS:
            works = [work for work in (["decode", "prefill-128"] + ([] if self.arguments.quick else ["prefill-1024"])) if self.wanted(f"llama {kind} {work}")]
            if not works:
                continue
            file = self.arguments.models / "llama" / f"{kind}.gguf"
            with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
                dump, script = Path(scratch) / "llama.safetensors", [sys.executable, HERE / "llama.py", file, *self.threads]
                run([*script, "--dump", dump])
                # llama.cpp rounds activations: to float16 at least, to eight bits where weights are quantised.
                run([LENS, "forward", file, "--work", "once", "--check", dump, "--tolerance", {"f32": 2e-3, "f16": 1e-2}.get(kind, 0.1)])
                workers = {"lens": Worker([LENS, "forward", file, *self.threads, "--serve"]), "llama.cpp": Worker([*script, "--serve"])}
                if kind in ("q8_0", "q4_0"):  # with activations rounded as llama.cpp rounds them
                    run([LENS, "forward", file, "--int8", "--work", "once", "--check", dump, "--tolerance", 0.1])
                    workers["lens int8"] = Worker([LENS, "forward", file, "--int8", *self.threads, "--serve"])
                for worker in workers.values():
                    stack.callback(worker.close)
                best = self.turns(works, workers)
            for work in works:
                name, _, count = work.partition("-")
                tokens, peers = int(count or 0), {"llama.cpp": best[work, "llama.cpp"]}
                flops = 2 * tokens * PREFILLED + 2 * OUTPUT["llama"] + (LAYERS - 1) * 2 * tokens * tokens * WIDTH if tokens else None
                # A step reads every matrix but the table of embeddings.
                read = None if tokens else (BLOCKS + OUTPUT["llama"]) * {"f32": 4, "f16": 2, "q8_0": 34 / 32, "q4_0": 18 / 32}[kind]
                self.row(f"LLaMA 134M {name} {count} {kind}".replace("  ", " "), best[work, "lens"], peers, {"llama.cpp": bars[name][kind]}, flops=flops, read=read,
                         read_gb_per_s=best[work, "read"])
                if (work, "lens int8") in best:
                    self.row(f"LLaMA 134M {name} {count} {kind}, int8 activations".replace("  ", " "), best[work, "lens int8"], peers, {"llama.cpp": bars[name][kind]}, read=read,
                             read_gb_per_s=best[work, "read"])

    # The rest

    def attention(self):
        if not self.wanted("attention"):
            return
        best = {}
        for _ in range(self.arguments.rounds):
            ours = run([LENS, "kernels", *self.threads, "--only", "attention prefill", "--rows", 4096, "--seconds", self.arguments.seconds])["results"][0]
            theirs = run([sys.executable, HERE / "torch_kernels.py", *self.threads, "--work", "attention", "--seconds", self.arguments.seconds])["results"][0]
            for name, result in (("lens", ours), ("torch", theirs)):
                best[name] = min(result["median_s"], best.get(name, float("inf")))
        self.row("attention alone, 12 heads, 4,096 positions, causal", best["lens"], {"torch": best["torch"]}, {"torch": 1.2}, flops=2 * 4096 * 4097 * WIDTH)

    def once(self, command):
        """Seconds from start to end of a process, and the most memory it had."""
        start = time.perf_counter()
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            raise RuntimeError(f"{command[0]} failed")
        return time.perf_counter() - start, usage.ru_maxrss * 1024

    def start(self):
        if not self.wanted("start"):
            return
        folder = self.arguments.models / "gpt2-small"
        peers = {} if self.arguments.quick else {name: self.once([sys.executable, HERE / "forward.py", folder, *self.threads, "--who", name, "--work", "once"]) for name in ("hf", "tl")}
        for name, flags, most in (("unprocessed", [], 0.6), ("processed", ["--processed"], 0.9)):
            runs = [self.once([LENS, "forward", folder, *self.threads, "--work", "once", *flags]) for _ in range(3)]
            self.row(f"start to first logits, 1×128, {name}", min(run[0] for run in runs), {who: times[0] for who, times in peers.items()}, seconds_at_most=most)
            if not flags:
                weights = 4 * (BLOCKS + OUTPUT["gpt2"] + 1024 * WIDTH)
                self.rows.append({"work": "peak memory, GPT-2 small 1×128, nothing cached", "peak_bytes": min(run[1] for run in runs), "weights_bytes": weights,
                                  "peers_peak_bytes": {who: times[1] for who, times in peers.items()}, "at_most": 1.3})

    def counted(self):
        """Instructions of a pass with one activation cached, over those of the pass alone: a clock is too coarse for one in a hundred."""
        if self.arguments.quick or not self.wanted("counted") or not all(map(shutil.which, ["valgrind", "callgrind_annotate", "strip"])):
            return
        folder = self.arguments.models / "gpt2-2"
        if not folder.exists():
            subprocess.run([sys.executable, HERE / "make_gpt2_small.py", folder, "--layers", "2", "--vocabulary", "1000"], check=True, stdout=subprocess.DEVNULL)
        with tempfile.TemporaryDirectory() as scratch:
            program, out = Path(scratch) / "lens-bench", Path(scratch) / "out"
            subprocess.run(["strip", "-g", "-o", program, LENS], check=True)  # valgrind does not get through the debugger's tables
            toggles = [f"--toggle-collect=*{name}*" for name in ("countPlain", "countOne")]
            subprocess.run(["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", "--collect-atstart=no", *toggles, program, "counted", folder],
                           check=True, env={**os.environ, "LENS_ISA": "avx2"})
            text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], check=True, capture_output=True, text=True).stdout
        found = {name: re.search(rf"^ *([0-9,]+) .*{name}", text, re.MULTILINE) for name in ("countPlain", "countOne")}
        if not all(found.values()):
            print("counted: valgrind found nothing to count", file=sys.stderr)
            return
        plain, one = (int(match[1].replace(",", "")) for match in found.values())
        self.rows.append({"work": "one activation cached, 1×128, two layers", "instructions": one, "of_own": one / plain, "at_most": 1.01})

    def scale(self):
        if self.arguments.quick or not self.wanted("scale"):
            return None
        command = [LENS, "scale", self.arguments.models / "llama" / "f16.gguf", *self.threads]
        for length in self.arguments.contexts:
            command += ["--context", length]
        return run(command + (["--layers", self.arguments.scale_layers] if self.arguments.scale_layers else []))


def processor_file():
    return Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


def processor():
    names = re.findall(r"model name\s*: (.*)", processor_file())
    return names[0] if names else platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--contexts", type=int, nargs="*", default=[128, 512, 2048, 8192, 32768])
    parser.add_argument("--scale-layers", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--merge", type=Path, help="an earlier --json: its rows stay where this run has none")
    parser.add_argument("--table", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (2 if arguments.quick else 3)
    arguments.seconds = arguments.seconds or (0.6 if arguments.quick else 2.0)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["OPENBLAS_NUM_THREADS"] = str(arguments.threads)
    bench = Bench(arguments)
    bench.measure_limits()
    bench.gpt2()
    bench.llama()
    bench.attention()
    bench.start()
    bench.counted()
    scale = bench.scale()
    bench.measure_limits()
    result = {"date": date.today().isoformat(), "machine": processor(), "cores": os.cpu_count(), "threads": arguments.threads,
              "rounds": arguments.rounds, "limits": bench.limits, "rows": bench.rows, "scale": scale}
    if arguments.merge and arguments.merge.exists():
        result = report.merged(json.loads(arguments.merge.read_text()), result)
    table = report.table(result)
    print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    if arguments.table:
        arguments.table.write_text(table)
    if arguments.plot and result.get("scale"):
        arguments.plot.write_text(plot.svg(result["scale"]))


if __name__ == "__main__":
    main()
