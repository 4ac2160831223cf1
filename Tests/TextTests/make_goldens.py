"""Trains small tokenizers on built-in text and stores, for many strings, what Hugging Face tokenizers makes of them.

Needs tokenizers==0.23.3. Run: python make_goldens.py   (writes Goldens/*.json beside this file)

Goldens/strings.json is a list of strings. Every other file holds one tokenizer.json as "tokenizer" and "cases": for
string i, [ids, ids without special tokens, decoded without special tokens, decoded], where null means "as the one
before", and, for the third, "as the string".
"""
import itertools
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent / "Goldens"
TEXT = """A tokenizer cuts text into words and words into tokens; it's a small thing, and we've all got it wrong.
The quick brown fox jumps over the lazy dog. They're here, I'll go, you'd stay, I'm sure, that's what she said.
Once upon a time there was a little girl named Lily, who loved to play outside in the park with 3 red balls.
In 1984 and 2024 prices rose 12.5% (from $1,000 to $1,125). def main(argv): return {"key": [1, 2, 3]} != None
Ein Tokenizer zerlegt Wörter; größer, schöner, über. Où êtes-vous, garçon? El niño comió piñas. Zażółć gęślą jaźń.
Съешь ещё этих мягких французских булок, да выпей чаю. Ο καλύτερος τρόπος. 今天天气很好。日本語のテキスト。한국어 문장입니다.
שלום עולם. مرحبا بالعالم. नमस्ते दुनिया. สวัสดีชาวโลก.
"""
SPECIAL = [
    "", " ", "  ", "   x", "x   ", "a  b", "a   b", "\n", "\n\n\tindent\n", " \n ", "\t", "\r\n\r\n", "a\u00a0b", "\u00a0\u00a0b",
    "\u1680a", "\u2000\u2001\u2009x", "x\u2028y\u2029z", "\u202f\u205f\u3000w", "\u0085n", "\x1c\x1d\x1e\x1f", "\u180eq", "\ufeffbom",
    "\u200bzero\u200cwidth\u200d", "it's we've they're I'll you'd I'm IT'S don't 'tis 's", "''s", " 's", "'", "'l", "'ll'", "\u2019s",
    "Hello World", "Hello, world!", "1234567890 3.14159 1,000,000", "x1y2", "½ ² Ⅷ ٣ 五 𝟙", "a_b-c.d", "!!!???", "$%^&*()",
    "é", "e\u0301", "é e\u0301", "Å Å A\u030a", "ά ά", "\u1e9b\u0323", "a\u0300\u0301\u0302b", "\u0301", "한국어 \u1112\u1161\u11ab",
    "👍", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "a👍b", "\U0001f9ff\U0001fae8", "שלום עולם", "مرحبا بالعالم", "नमस्ते दुनिया", "สวัสดีชาวโลก", "今天天气很好。",
    "日本語のテキスト", "Съешь ещё", "Ο καλύτερος", "Zażółć gęślą", "\U00020000\U0002a6df", "\ue000\U0010ffff", "\u0378\u0530", "\x00", "\x00\x01\x7f",
    "\ufffd", "▁", "▁▁", " ▁ ", "a▁b", "Ġ", "Ġhello", "<0x0A>", "<0x41>", "<s>", "</s>", "<s>hi</s>", "<unk>", "<|endoftext|>", "a<|endoftext|>b",
    "word" * 30, "a" * 60, "ab" * 40, " " * 45, "xyz " * 12, "0" * 41, "é" * 42, "\U0001f600" * 12,
]
FLAGS = [f"[{n}]" for n in range(32)]


def strings():
    generator = random.Random(20)
    ranges = [(0x20, 0x7F), (0, 0x20), (0x80, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE80),
              (0x1100, 0x1200), (0x1E00, 0x2100), (0x2100, 0x2C00), (0x3000, 0x3100), (0x4E00, 0x4F00), (0xAC00, 0xAD00),
              (0xFE00, 0x10000), (0x10000, 0x10400), (0x1D400, 0x1D800), (0x1F300, 0x1FB00), (0xE0000, 0xE0080)]
    bits = ["'s", "'re", " ", "  ", "\n", "the", " and", "▁", "_", "x", "[3]", "[17]", "[26] ", " [31]", "<s>", "e\u0301", "é", "7", "Ω"]

    def character():
        if generator.random() < 0.4:
            return generator.choice(bits)
        low, high = generator.choice(ranges) if generator.random() < 0.6 else ranges[0]
        return chr(generator.randrange(low, high))

    result = list(SPECIAL)
    for number in FLAGS[:32]:
        result += [f"a {number} b", f"a{number}b", f"\u3000{number}\n. {number}{number}", f"é{number} \u0301{number}_"]
    while len(result) < 420:
        result.append("".join(character() for _ in range(generator.randrange(1, 14))))
    return result


def added_tokens():
    """One token for every combination of the five flags: bits single_word, lstrip, rstrip, normalized, special."""
    for name, (single, left, right, normalized, special) in zip(FLAGS, itertools.product([False, True], repeat=5)):
        yield AddedToken(name, single_word=single, lstrip=left, rstrip=right, normalized=normalized, special=special)


def byte_level(size=420, prefix=False):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    return tokenizer


def characters(special=(), size=260, **options):
    """BPE over characters, the spaces marked, trained; then the same vocabulary with other options."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=size + len(special), special_tokens=["<unk>", "<s>", "</s>", *special],
                                  show_progress=False, limit_alphabet=150)
    tokenizer.train_from_iterator(TEXT.replace("\n", " ").split(". "), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    return Tokenizer(models.BPE(vocab=model["vocab"], merges=merges, unk_token="<unk>", **options))


def template(tokenizer):
    ids = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A </s> $B", special_tokens=ids)
    return tokenizer


def llama():
    tokenizer = characters([f"<0x{b:02X}>" for b in range(256)], byte_fallback=True, fuse_unk=True)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                           decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.add_tokens(list(added_tokens()))
    return template(tokenizer)


def gpt2_flags():
    tokenizer = byte_level(300, prefix=True)
    tokenizer.add_tokens(list(added_tokens()))
    return tokenizer


def words():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True),
                                                       pre_tokenizers.Punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "<s>", "</s>"], continuing_subword_prefix="##",
                                  end_of_word_suffix="</w>", show_progress=False, limit_alphabet=120)
    tokenizer.train_from_iterator([TEXT], trainer)
    return template(tokenizer)


def some_bytes():
    """Byte tokens for some bytes only, unknown tokens not fused: the order of both is the point."""
    tokenizer = characters([f"<0x{b:02X}>" for b in range(0x80, 0xD0)], byte_fallback=True, fuse_unk=False)
    tokenizer.decoder = decoders.Sequence([decoders.Strip("e", 0, 1), decoders.ByteFallback(), decoders.Strip("▁", 2, 0)])
    return tokenizer


def metaspace(scheme, split):
    tokenizer = characters(fuse_unk=scheme == "first")
    tokenizer.normalizer = normalizers.Strip(scheme != "always", scheme != "never")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=scheme, split=split)
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme=scheme, split=split)
    tokenizer.add_tokens(list(added_tokens()))
    return tokenizer


def whole_words():
    """ignore_merges, a literal split in every behaviour, GPT-2's pattern as a Split, RoBERTa's post-processor."""
    model = json.loads(byte_level(440).to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=model["vocab"], merges=merges[::2], ignore_merges=True))
    gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
    behaviors = ["isolated", "merged_with_previous", "merged_with_next", "contiguous"]
    literals = [pre_tokenizers.Split(text, how) for text, how in zip(["a", "e", "'", "  "], behaviors)]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(gpt2), "isolated"), *literals, pre_tokenizers.Split("th", "isolated", invert=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 3), ("<s>", 2))
    return tokenizer


def main():
    texts = strings()
    made = {
        "byte_level": byte_level(), "llama": llama(), "gpt2_flags": gpt2_flags(), "words": words(),
        "some_bytes": some_bytes(), "metaspace_first": metaspace("first", True), "metaspace_always": metaspace("always", True),
        "metaspace_never": metaspace("never", False), "whole_words": whole_words(),
    }
    HERE.mkdir(exist_ok=True)
    (HERE / "strings.json").write_text(json.dumps(texts))
    for name, tokenizer in made.items():
        tokenizer = Tokenizer.from_str(tokenizer.to_str())
        cases = []
        stride = 2 if name == "llama" else 1 if name == "byte_level" else 3
        for text in texts[::stride]:
            ids, plain = tokenizer.encode(text).ids, tokenizer.encode(text, add_special_tokens=False).ids
            decoded, full = tokenizer.decode(ids), tokenizer.decode(ids, skip_special_tokens=False)
            cases.append([ids, None if plain == ids else plain, None if decoded == text else decoded,
                          None if full == decoded else full])
        golden = {"stride": stride, "tokenizer": json.loads(tokenizer.to_str()), "cases": cases}
        (HERE / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":")))


if __name__ == "__main__":
    main()
