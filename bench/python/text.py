"""Tokenizing: this package beside Hugging Face tokenizers, one thread each, one sitting, the same tokens first.

    python text.py TOKENIZER_JSON [--bench PATH_TO_LENS_BENCH] [--megabytes 10] [--rounds 3]

The text is English: docstrings of the installed Python packages, up to the megabytes asked for. Besides, words of 0.25 to 4
megabytes of several kinds, to see how the time of one word grows: nanoseconds a byte, which should not depend on the
length. Prints Markdown.
"""

import argparse
import ast
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

HERE = Path(__file__).resolve().parent
SIZES = [250_000, 500_000, 1_000_000, 2_000_000, 4_000_000]
COMPARED = 1_000_000


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


def words(text, size):
    """Words without a space or a change of script, each one piece for most split patterns."""
    rng = random.Random(7)
    english = re.sub("[^A-Za-z]", "", text[:5 * size])
    while len(english) < size:
        english += english
    return {
        "one letter": "a" * size,
        "four letters, like DNA": "".join(rng.choices("ACGT", k=size)),
        "random letters": "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=size)),
        "English without spaces": english[:size],
        # Three bytes each, of nearly every value that bytes of text have.
        "random Chinese characters": "".join(map(chr, rng.choices(range(0x4E00, 0x9FA6), k=size // 3))),
    }


def seconds_of_words(arguments, text, peer, scratch):
    """For each kind of word and each size the best time, ours and, for one size, the peer's; the tokens compared first."""
    files, contents = [], []
    for size in SIZES:
        for kind, word in words(text, size).items():
            files.append(Path(scratch) / f"word{len(files)}.txt")
            files[-1].write_text(word, encoding="utf-8")
            contents.append((kind, size, word))
    dump = Path(scratch) / "word_ids"
    command = [arguments.bench, "text", arguments.tokenizer, *map(str, files), "--one", "--seconds", "0.2", "--dump", str(dump)]
    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    found, ours, theirs = dump.read_bytes(), {}, {}
    for (kind, size, word), result in zip(contents, report["results"]):
        ours.setdefault(kind, []).append(result["best_s"])
        count = 4 * result["tokens"]
        mine, found = found[:count], found[count:]
        if size <= COMPARED:
            begin = time.perf_counter()
            ids = peer.encode(word, add_special_tokens=False).ids
            theirs[kind] = time.perf_counter() - begin
            if mine != b"".join(i.to_bytes(4, "little") for i in ids):
                sys.exit(f"the tokens of a word differ: {kind}, {size} bytes")
    return ours, theirs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokenizer")
    parser.add_argument("--bench", default=str(HERE.parent / ".build" / "release" / "lens-bench"))
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    import tokenizers

    text = english(int(arguments.megabytes * 1e6))
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "text.txt"
        file.write_bytes(text.encode())
        dump = Path(scratch) / "ids"
        command = [arguments.bench, "text", arguments.tokenizer, str(file), "--dump", str(dump)]
        theirs, ours, report = [], [], None
        for _ in range(arguments.rounds):
            report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            ours.append(report["results"][0]["best_s"])
            peer = tokenizers.Tokenizer.from_file(arguments.tokenizer)
            begin = time.perf_counter()
            ids = peer.encode(text, add_special_tokens=False).ids
            theirs.append(time.perf_counter() - begin)
            found = dump.read_bytes()
            if found != b"".join(i.to_bytes(4, "little") for i in ids):
                sys.exit("the tokens differ")
        mine = sorted(ours)[len(ours) // 2]
        their = sorted(theirs)[len(theirs) // 2]
        print(f"{len(text.encode()) / 1e6:.1f} MB of English, {len(ids)} tokens, the same; tokenizers {tokenizers.__version__}, one thread each\n")
        print("| | seconds | MB/s |\n|---|---|---|")
        print(f"| swift-transformer-lens | {mine:.3f} | {len(text.encode()) / 1e6 / mine:.1f} |")
        print(f"| Hugging Face tokenizers | {their:.3f} | {len(text.encode()) / 1e6 / their:.1f} |")
        print(f"\n{their / mine:.1f} times as fast. Loading: {report['loading']['best_s'] * 1e3:.0f} ms.\n")
        ours, theirs = seconds_of_words(arguments, text, peer, scratch)
        print(f"One word, nanoseconds a byte; the tokens up to {COMPARED / 1e6:g} MB are the peer's.\n")
        print("| MB | " + " | ".join(f"{size / 1e6:g}" for size in SIZES) + f" | tokenizers, {COMPARED / 1e6:g} |")
        print("|---" * (len(SIZES) + 2) + "|")
        for kind, times in ours.items():
            cells = [f"{t / size * 1e9:.1f}" for t, size in zip(times, SIZES)] + [f"{theirs[kind] / COMPARED * 1e9:.0f}"]
            print(f"| {kind} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
