"""Compares tokenizers with Hugging Face tokenizers on random strings: encodings in full, and decoding both ways.

Needs tokenizers==0.23.3. Run: python fuzz.py DRIVER TOKENIZER.json… [--count N] [--seed S] [--pairs]
DRIVER is a program; `DRIVER run|decode TOKENIZER.json IN.json OUT.json` does what ParityTests.swift does, which is also
there as `swift test --filter ParityTests`: give `swift-test` as DRIVER, in the package's folder.
"""
import argparse
import json
import os
import pathlib
import random
import subprocess
import tempfile
import unicodedata

from tokenizers import Tokenizer

SPACES = [9, 10, 11, 12, 13, 28, 29, 30, 31, 32, 32, 32, 32, 133, 160, 0x1680, 0x180E, *range(0x2000, 0x2010), 0x2028,
          0x2029, 0x202F, 0x205F, 0x3000, 0xFEFF]
BLOCKS = [(0, 0x80), (0x80, 0x250), (0x300, 0x370), (0x370, 0x530), (0x530, 0x780), (0x900, 0xE00), (0xE00, 0x1200),
          (0x1E00, 0x2100), (0x2000, 0x2C00), (0x3000, 0x3400), (0x4E00, 0x5200), (0xAC00, 0xAD00), (0xE000, 0xE100),
          (0xF900, 0x10000), (0x10000, 0x11000), (0x1D400, 0x1D800), (0x1F000, 0x20000), (0x20000, 0x20100),
          (0xE0000, 0xE0200), (0x10FF00, 0x110000)]
BITS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'\u017f", " '", "  ", "<|endoftext|>", "<s>", "</s>", "<unk>",
        "[UNK]", "[MASK]", "<0x0A>", "▁▁", "\r\n", "é", "e\u0301", "👩‍👩‍👧", "🇩🇪", "\u200d", "\u200b", "123", "½", "ά", "ά",
        "한국어", "\u1112\u1161\u11ab", "สวัสดี", "\n\n", "\r", "don't", "İ", "ß", "ΑΣ", "ſ", "K", "ﬁ", "™", "…", "\u0344", "क्ष",
        "中文", "日本", "ー", "カ", "\t", "/", "//", "\u0345", "\u0334", "\u0300\u0316", "à\u0316"]
REAL = []


def real_texts():
    shared = pathlib.Path(__file__).resolve().parents[2].parent / "shared"
    for path in sorted(shared.glob("tokenizers/*/expected.json")):
        REAL.extend(item["text"] for item in json.loads(path.read_text()))
    here = pathlib.Path(__file__).read_text()
    REAL.extend([here, here[2000:]])
    for name in ("DESIGN.md", "reference/transformerlens.md"):
        if (shared / name).exists():
            REAL.append((shared / name).read_text()[:30000])


def strings(seed, count):
    rng = random.Random(seed)
    marks = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and unicodedata.combining(chr(c))]

    def scalar(low, high):
        while True:
            c = rng.randrange(low, high)
            if not 0xD800 <= c < 0xE000:
                return chr(c)

    def character():
        kind = rng.random()
        if kind < 0.15:
            return chr(rng.choice(SPACES))
        if kind < 0.25:
            return rng.choice("▁Ġ<>'|[]_s/0x#")
        if kind < 0.3:
            return scalar(0, 0x110000)
        if kind < 0.35:
            return rng.choice(marks)
        return scalar(*(rng.choice(BLOCKS) if rng.random() < 0.5 else (0x20, 0x7F)))

    for _ in range(count):
        kind = rng.random()
        if kind < 0.35:
            text = "".join(character() for _ in range(rng.randrange(0, 40)))
        elif kind < 0.6:
            source = rng.choice(REAL)
            start = rng.randrange(len(source) + 1)
            text = source[start:start + rng.randrange(0, 120)]
            for _ in range(rng.randrange(4)):
                place = rng.randrange(len(text) + 1)
                text = text[:place] + (rng.choice(BITS) if rng.random() < 0.5 else character()) + text[place:]
        elif kind < 0.9:
            words = ["the", "and", " Hello", " world", "a", "x"]
            text = "".join(rng.choice(BITS) if rng.random() < 0.5 else character() if rng.random() < 0.5 else rng.choice(words)
                           for _ in range(rng.randrange(0, 25)))
        else:
            text = character() * rng.randrange(0, 90) + "".join(character() for _ in range(3)) * rng.randrange(5)
        yield text


def drive(driver, what, tokenizer, items):
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/in.json", f"{folder}/out.json"
        pathlib.Path(source).write_text(json.dumps(items))
        if driver == "swift-test":
            paths = {"LENS_PARITY_DO": what, "LENS_PARITY_TOKENIZER": tokenizer, "LENS_PARITY_IN": source, "LENS_PARITY_OUT": target}
            subprocess.run(["swift", "test", "--filter", "ParityTests"], check=True, env={**os.environ, **paths})
        else:
            subprocess.run([driver, what, tokenizer, source, target], check=True)
        return json.loads(pathlib.Path(target).read_text())


def encoded(encoding):
    return [encoding.ids, encoding.tokens, [place for pair in encoding.offsets for place in pair], encoding.type_ids,
            [-1 if word is None else word for word in encoding.word_ids], encoding.special_tokens_mask,
            encoding.attention_mask, [part.ids for part in encoding.overflowing]]


def expected(tokenizer, item):
    """What the library makes of a string or a pair; None if it raises."""
    try:
        if isinstance(item, list):
            return encoded(tokenizer.encode(*item))
        whole = tokenizer.encode(item)
        plain = tokenizer.encode(item, add_special_tokens=False)
        return encoded(whole) + [whole.ids, plain.ids, tokenizer.decode(whole.ids),
                                 tokenizer.decode(whole.ids, skip_special_tokens=False)]
    except BaseException as error:
        if type(error).__name__ in ("Exception", "PanicException"):
            return None
        raise


def compare(name, items, ours, theirs):
    """Prints the first differences; where the library raises, anything goes but a crash."""
    parts = ["ids", "tokens", "offsets", "types", "words", "mask", "attention", "overflow", "encode", "plain", "decoded", "full"]
    bad = raised = 0
    for item, mine, its in zip(items, ours, theirs):
        if its is None:
            raised += 1
        elif mine != its:
            bad += 1
            if bad < 4:
                print(f"DIFFERENT in {name}: {item!r}")
                for number, (a, b) in enumerate(zip(mine, its) if isinstance(mine, list) else [(mine, its)]):
                    if a != b:
                        print(f"  {parts[number]}:\n    ours   {a!r}\n    theirs {b!r}")
    return bad, raised


def fuzz(driver, path, count, seed, pairs):
    tokenizer = Tokenizer.from_file(path)
    items = list(strings(seed, count))
    if pairs:
        items += [list(pair) for pair in zip(items[0:count // 10:2], items[1:count // 10:2])]
    bad, raised = compare(path, items, drive(driver, "run", path, items), [expected(tokenizer, item) for item in items])
    rng = random.Random(seed + 1)
    vocabulary = tokenizer.get_vocab()
    greatest = max(vocabulary.values())
    single = [number for token, number in vocabulary.items() if token.startswith("<0x") or len(token) == 1]
    sequences = [[rng.choice(single) if single and rng.random() < 0.6 else rng.randrange(greatest + 1)
                  for _ in range(rng.randrange(0, 20))] for _ in range(count // 4)]

    def decoded(ids):
        try:
            return [tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=False)]
        except BaseException as error:
            if type(error).__name__ in ("Exception", "PanicException"):
                return None
            raise

    bad2, raised2 = compare(path, sequences, drive(driver, "decode", path, sequences), [decoded(ids) for ids in sequences])
    print(f"{pathlib.Path(path).parent.name}/{pathlib.Path(path).name}: seed {seed}: {len(items)} strings, {bad} different, "
          f"{raised} refused by the library; {len(sequences)} id sequences, {bad2} different, {raised2} refused", flush=True)
    return bad + bad2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("driver")
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pairs", action="store_true")
    options = parser.parse_args()
    real_texts()
    raise SystemExit(min(1, sum(fuzz(options.driver, path, options.count, options.seed, options.pairs) for path in options.tokenizers)))


if __name__ == "__main__":
    main()
