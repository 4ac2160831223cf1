"""This package beside its Python peers: the same weights and tokens, one sitting, results checked before they are timed.

    python compare.py FOLDER [--bench PATH_TO_LENS_BENCH] [--work NAME]... [--rounds 2] [--seconds 4] [--who hf|tl]...

For each work the programs take turns, `--rounds` times round, each alone on the machine; the best median of each is
compared. Prints a Markdown table of times and ratios (a peer's time over ours), and says how busy the machine was.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKS = ["1x16", "1x128", "8x128", "1x1024", "cache-1x128", "generate"]


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def peer(folder, who, work, arguments, *extra):
    report = run([sys.executable, str(HERE / "forward.py"), folder, "--threads", str(arguments.threads), "--who", who,
                  "--work", work, "--seconds", str(arguments.seconds), *extra])
    return report["results"]


def lens(folder, work, arguments, *extra):
    report = run([arguments.bench, "forward", folder, "--threads", str(arguments.threads), "--work", work,
                  "--seconds", str(arguments.seconds), *extra])
    return report["results"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--bench", default=str(HERE.parent / ".build" / "release" / "lens-bench"))
    parser.add_argument("--work", action="append", choices=WORKS)
    parser.add_argument("--who", action="append", choices=["hf", "tl"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=4.0)
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    peers = arguments.who or ["hf", "tl"]
    with tempfile.TemporaryDirectory() as scratch:
        dump = str(Path(scratch) / "peers.safetensors")
        peer(arguments.folder, "hf", "1x16", arguments, "--dump", dump)
        lens(arguments.folder, "1x16", arguments, "--check", dump)
    print(f"logits checked against Hugging Face; {arguments.threads} threads; median of runs, best of {arguments.rounds} rounds\n")
    print("| work | ours | " + " | ".join(f"{name} | ratio" for name in peers) + " | busy |")
    print("|---|---|" + "---|---|" * len(peers) + "---|")
    for work in arguments.work or WORKS:
        best, busy = {}, []
        for _ in range(arguments.rounds):
            for name in ["lens", *peers]:
                results = lens(arguments.folder, work, arguments) if name == "lens" else peer(arguments.folder, name, work, arguments)
                for result in results:
                    best[name] = min(best.get(name, float("inf")), result["median_s"])
                    busy += [result["cpu_per_wall"]] if "cpu_per_wall" in result else []
        cells = [f"{1e3 * best[name]:.1f} ms | {best[name] / best['lens']:.2f}×" if name in best else "– | –" for name in peers]
        print(f"| {work} | {1e3 * best['lens']:.1f} ms | " + " | ".join(cells) + f" | {min(busy, default=0):.2f} |", flush=True)


if __name__ == "__main__":
    main()
