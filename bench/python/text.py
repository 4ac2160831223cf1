"""Tokenizing: this package beside Hugging Face tokenizers, one thread each, one sitting, the same tokens first.

    python text.py TOKENIZER_JSON [--bench PATH_TO_LENS_BENCH] [--megabytes 10] [--rounds 3]

The text is English: docstrings of the installed Python packages, up to the megabytes asked for. Besides, words of 0.25 to 2
megabytes without a space, to see how the time of one word grows. Prints Markdown.
"""

import argparse
import ast
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

HERE = Path(__file__).resolve().parent


def english(size):
    """Docstrings of every module on the path, in order of their files' names, until there are `size` bytes."""
    parts, total = [], 0
    for folder in sorted(set(filter(os.path.isdir, sys.path))):
        for path in sorted(Path(folder).rglob("*.py")):
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (SyntaxError, ValueError, OSError, RecursionError):
                continue
            for node in ast.walk(tree):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                    text = ast.get_docstring(node)
                    if text:
                        parts.append(text.encode("utf-8", "replace"))
                        total += len(parts[-1]) + 1
            if total >= size:
                return b"\n".join(parts)[:size].decode("utf-8", "ignore")
    sys.exit(f"only {total} bytes of English on this machine")


def words(sizes):
    """Letters in random order: one word for most split patterns."""
    rng = random.Random(7)
    syllables = ["the", "ing", "tion", "er", "an", "o", "re", "st", "qu", "x", "ness", "a"]
    for size in sizes:
        pieces, length = [], 0
        while length < size:
            pieces.append(rng.choice(syllables))
            length += len(pieces[-1])
        yield "".join(pieces)[:size]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("--bench", default=str(HERE.parent / ".build" / "release" / "lens-bench"))
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    import tokenizers

    text = english(int(arguments.megabytes * 1e6))
    sizes = [250_000, 500_000, 1_000_000, 2_000_000]
    with tempfile.TemporaryDirectory() as scratch:
        files = []
        for index, content in enumerate([text, *words(sizes)]):
            files.append(Path(scratch) / f"{index}.txt")
            files[-1].write_bytes(content.encode())
        dump = Path(scratch) / "ids"
        command = [arguments.bench, "text", arguments.tokenizer, *map(str, files), "--dump", str(dump)]
        theirs, ours, report = [], [], None
        for _ in range(arguments.rounds):
            report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            ours.append([r["best_s"] for r in report["results"]])
            peer = tokenizers.Tokenizer.from_file(arguments.tokenizer)
            begin = time.perf_counter()
            ids = peer.encode(text, add_special_tokens=False).ids
            theirs.append(time.perf_counter() - begin)
            found = dump.read_bytes()
            if found != b"".join(i.to_bytes(4, "little") for i in ids):
                sys.exit("the tokens differ")
        mine = sorted(o[0] for o in ours)[len(ours) // 2]
        their = sorted(theirs)[len(theirs) // 2]
        print(f"{len(text.encode()) / 1e6:.1f} MB of English, {len(ids)} tokens, the same; tokenizers {tokenizers.__version__}, one thread each\n")
        print("| | seconds | MB/s |\n|---|---|---|")
        print(f"| swift-transformer-lens | {mine:.3f} | {len(text.encode()) / 1e6 / mine:.1f} |")
        print(f"| Hugging Face tokenizers | {their:.3f} | {len(text.encode()) / 1e6 / their:.1f} |")
        print(f"\n{their / mine:.1f} times as fast. Loading: {report['loading']['best_s'] * 1e3:.0f} ms.\n")
        print("| one word of | seconds | times the one before |\n|---|---|---|")
        before = None
        for index, size in enumerate(sizes):
            best = min(o[index + 1] for o in ours)
            print(f"| {size / 1e6:.2f} MB | {best:.4f} | {f'{best / before:.2f}' if before else ''} |")
            before = best


if __name__ == "__main__":
    main()
