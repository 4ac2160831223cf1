"""Stores what Hugging Face tokenizers makes of 2,000 strings and more with every component there is.

Needs tokenizers==0.23.3. Run: python make_components.py   (writes Goldens/components/*.json beside this file)

components/strings.json is the list of strings. Every other file has a stage's tokenizers by name: the tokenizer.json,
"ids" of the first strings in full, and "checks": for every string six hexadecimal digits of the FNV-1a hash of a line
that says everything about it (see `line`). "pairs" is the same for pairs of neighbouring strings, "decoded" for
sequences of ids (see `sequences`).
"""
import base64
import json
import pathlib
import random
import struct
import unicodedata

import fuzz
import make_goldens
from tokenizers import (AddedToken, Regex, Tokenizer, decoders as D, models as M, normalizers as N, pre_tokenizers as P,
                        processors as R, trainers)

HERE = pathlib.Path(__file__).parent / "Goldens" / "components"
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
          r"\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|"
          r"\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
            r"\s*[\r\n]+|\s+(?!\S)|\s+")


def strings():
    fuzz.REAL[:] = [make_goldens.TEXT, make_goldens.TEXT[300:]]
    result = list(make_goldens.SPECIAL)
    for start in range(0x80, 0x20000, 0x80):
        letters = [chr(c) for c in range(start, start + 0x80) if unicodedata.category(chr(c))[0] in "LNM"]
        if letters and not (0x3400 <= start < 0xA000 or 0xAC00 <= start < 0xD780) or start % 0x800 == 0:
            step = max(1, len(letters) // 12)
            result.append(" ".join("".join(letters[i:i + 4 * step:step]) for i in range(0, min(len(letters), 12 * step), 4 * step)))
    rng = random.Random(7)
    for length in (150, 300, 600):
        result += ["".join(rng.choice("abcdeé") for _ in range(length)), "".join(chr(rng.randrange(0x4E00, 0x4F00)) for _ in range(length)),
                   "the" * length, "'" * length, "\u0301" * length, "1" * length]
    result += list(fuzz.strings(2026, 2100 - len(result)))
    return [text.replace("\x00", "") if i % 2 else text for i, text in enumerate(result)]


def check(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & (2 ** 64 - 1)
    return f"{(value ^ value >> 24) & 0xFFFFFF:06x}"


def encoding_line(encoding):
    def joined(values):
        return ",".join(str(int(v)) for v in values)
    return ";".join([joined(encoding.ids), "\x1f".join(encoding.tokens), joined(p for pair in encoding.offsets for p in pair),
                     joined(encoding.type_ids), joined(-1 if w is None else w for w in encoding.word_ids),
                     joined(encoding.special_tokens_mask), joined(encoding.attention_mask),
                     " ".join(joined(part.ids) for part in encoding.overflowing)])


def line(tokenizer, text):
    whole = tokenizer.encode(text)
    plain = tokenizer.encode(text, add_special_tokens=False)
    return ";".join([encoding_line(whole), ",".join(map(str, plain.ids)), tokenizer.decode(whole.ids) if whole.ids else "",
                     tokenizer.decode(whole.ids, skip_special_tokens=False) if whole.ids else ""])


def sequences(limit):
    """Sequences of ids below a limit, by a linear congruential generator that is easy to write again."""
    state, result = 1, []
    for number in range(2000):
        ids = []
        for _ in range(1 + number % 17):
            state = (state * 6364136223846793005 + 1442695040888963407) & (2 ** 64 - 1)
            ids.append((state >> 33) % limit)
        result.append(ids)
    return result


def attempt(make):
    try:
        return check(make())
    except BaseException as error:
        if type(error).__name__ not in ("Exception", "PanicException"):
            raise
        return "------"


def base(normalizer=None, pre=None, post=None, decoder=None, model=None, added=()):
    """A tokenizer whose tokens show the text itself: unknown tokens of a Unigram model are written as they are."""
    letters = "abcdehilnorstuABCT ▁.,'#1é你"
    words = ["the", "and", "▁the", "ing", "er", "on", "##er", "Hello", " world", "ll", "12"]
    tokenizer = Tokenizer(model or M.Unigram([("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)] + [(c, -5.0 - i / 7) for i, c in enumerate(letters)]
                                             + [(w, -4.0 - i / 3) for i, w in enumerate(words)], 0, False))
    if normalizer:
        tokenizer.normalizer = normalizer
    if pre:
        tokenizer.pre_tokenizer = pre
    if post:
        tokenizer.post_processor = post
    if decoder:
        tokenizer.decoder = decoder
    if added:
        tokenizer.add_tokens(list(added))
    return tokenizer


def charsmap(rules):
    """A double array of byte strings, as SentencePiece compiles its normalization rules into one."""
    pool, values = b"", {}
    for key, text in rules.items():
        values[key.encode()] = len(pool)
        pool += text.encode() + b"\0"
    units = {0: 0}
    used = {0}

    def place(prefix, at):
        labels = sorted({key[len(prefix)] for key in values if len(key) > len(prefix) and key.startswith(prefix)})
        leaf = prefix in values
        offset = 1
        while True:
            spots = [offset ^ label for label in labels] + ([offset] if leaf else [])
            relative = offset ^ at
            if relative < 1 << 21 and not any(spot in used for spot in spots):
                break
            offset += 1
        used.update(spots)
        units[at] = units.get(at, 0) | relative << 10 | (1 << 8 if leaf else 0)
        if leaf:
            units[offset] = 1 << 31 | values[prefix]
        for label in labels:
            units[offset ^ label] = label
        for label in labels:
            place(prefix + bytes([label]), offset ^ label)

    place(b"", 0)
    size = (max(units) | 255) + 1
    blob = b"".join(struct.pack("<I", units.get(i, 0x200)) for i in range(size))
    return struct.pack("<I", len(blob)) + blob + pool


def normalizers():
    rules = {"ﬁ": "fi", "™": "TM", "\t": " ", "\r\n": " ", "é": "e", "e\u0301": "E", "\u200b": "", "…": "...", "a\u0301": "á", "½": "1/2",
             "\u3000": " ", "カ": "か", "İ": "i", "x": "x", "\u0301": ""}
    bert = [N.BertNormalizer(*options) for options in [(True, True, None, True), (False, True, False, True), (True, False, True, False),
                                                       (False, False, None, False)]]
    return {
        "nfc": N.NFC(), "nfd": N.NFD(), "nfkc": N.NFKC(), "nfkd": N.NFKD(), "nmt": N.Nmt(), "lowercase": N.Lowercase(),
        "strip_accents": N.StripAccents(), "nfkd_strip_accents": N.Sequence([N.NFKD(), N.StripAccents(), N.Lowercase()]),
        "strip_left": N.Strip(True, False), "strip_right": N.Strip(False, True), "strip": N.Strip(), "replace": N.Replace("th", "q▁"),
        "replace_regex": N.Replace(Regex(r"\s+|(?<=e)l"), " "), "remove": N.Replace(Regex(r"\p{M}|[aeiou]"), ""), "prepend": N.Prepend("▁a"),
        "bert": bert[0], "bert_lower": bert[1], "bert_accents": bert[2], "bert_nothing": bert[3], "byte_level": N.ByteLevel(),
        "precompiled": N.Precompiled(charsmap(rules)),
        "sequence": N.Sequence([N.Nmt(), N.NFKC(), N.Replace(Regex(" {2,}"), " "), N.Strip(), N.Prepend("▁"), N.Replace(" ", "▁")]),
        "sequence_twice": N.Sequence([N.NFD(), N.NFC(), N.Lowercase(), N.NFKD(), N.Sequence([])]),
    }


def pre_tokenizers():
    result = {
        "byte_level": P.ByteLevel(add_prefix_space=False), "byte_level_prefix": P.ByteLevel(add_prefix_space=True),
        "byte_level_whole": P.ByteLevel(add_prefix_space=True, use_regex=False), "bert": P.BertPreTokenizer(),
        "whitespace": P.Whitespace(), "whitespace_split": P.WhitespaceSplit(), "digits": P.Digits(False), "digits_each": P.Digits(True),
        "delimiter": P.CharDelimiterSplit("e"), "unicode_scripts": P.UnicodeScripts(), "fixed_length": P.FixedLength(5),
        "fixed_length_one": P.FixedLength(1), "digits_byte_level": P.Sequence([P.Digits(True), P.ByteLevel(add_prefix_space=False)]),
        "sequence": P.Sequence([P.WhitespaceSplit(), P.Punctuation("merged_with_next"), P.Metaspace(prepend_scheme="first")]),
    }
    for scheme in ("first", "never", "always"):
        for split in (False, True):
            result[f"metaspace_{scheme}_{split}"] = P.Metaspace(prepend_scheme=scheme, split=split)
    for number, how in enumerate(BEHAVIORS):
        result[f"punctuation_{how}"] = P.Punctuation(how)
        result[f"split_{how}"] = P.Split("e" if number % 2 else "  ", how, invert=number == 3)
        for invert in (False, True):
            result[f"split_regex_{how}_{invert}"] = P.Split(Regex(r"\w+|[^\s\w]" if number % 2 else r"\s+"), how, invert=invert)
    patterns = {"gpt2": make_goldens_gpt2(), "cl100k": CL100K, "llama3": LLAMA3, "qwen2": QWEN2, "qwen35": QWEN35, "o200k": O200K,
                "deepseek": DEEPSEEK}
    for name, pattern in patterns.items():
        result[f"pattern_{name}"] = P.Split(Regex(pattern), "isolated")
        result[f"pattern_{name}_removed"] = P.Split(Regex(pattern), "removed", invert=True)
    result["deepseek_v3"] = P.Sequence([P.Split(Regex(r"\p{N}{1,3}"), "isolated"), P.Split(Regex("[一-龥\u3040-ゟ゠-ヿ]+"), "isolated"),
                                        P.Split(Regex(DEEPSEEK), "isolated"), P.ByteLevel(add_prefix_space=False, use_regex=False)])
    return result


def make_goldens_gpt2():
    return r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def trained(model, trainer, pre, decoder=None, normalizer=None):
    tokenizer = base(normalizer, pre, decoder=decoder, model=model)
    tokenizer.train_from_iterator([make_goldens.TEXT] * 3, trainer)
    return tokenizer


def retold(tokenizer, **options):
    data = json.loads(tokenizer.to_str())
    data["model"].update(options)
    return Tokenizer.from_str(json.dumps(data))


def models():
    special = ["<unk>", "<s>", "</s>"]
    byte_names = [f"<0x{b:02X}>" for b in range(256)]
    bpe = trained(M.BPE(unk_token="<unk>"), trainers.BpeTrainer(vocab_size=330, special_tokens=special, show_progress=False, limit_alphabet=90),
                  P.Metaspace(), D.Metaspace())
    bytes_too = trained(M.BPE(unk_token="<unk>"), trainers.BpeTrainer(vocab_size=560, special_tokens=special + byte_names, show_progress=False,
                                                                    limit_alphabet=90), P.Metaspace(), D.Sequence([D.ByteFallback(), D.Metaspace()]))
    bytes_too = strip_added(bytes_too, byte_names)
    affixes = trained(M.BPE(unk_token="<unk>", continuing_subword_prefix="##", end_of_word_suffix="</w>"),
                      trainers.BpeTrainer(vocab_size=400, special_tokens=special, continuing_subword_prefix="##", end_of_word_suffix="</w>",
                                          show_progress=False, limit_alphabet=90), P.Whitespace(), D.BPEDecoder())
    byte_level = trained(M.BPE(), trainers.BpeTrainer(vocab_size=420, initial_alphabet=sorted(P.ByteLevel.alphabet()), show_progress=False),
                         P.ByteLevel(add_prefix_space=False), D.ByteLevel())
    unigram = trained(M.Unigram(), trainers.UnigramTrainer(vocab_size=300, special_tokens=special, unk_token="<unk>", show_progress=False),
                      P.Metaspace(), D.Metaspace())
    unigram_bytes = json.loads(unigram.to_str())
    unigram_bytes["model"]["vocab"] += [[name, -9.0] for name in byte_names]
    unigram_bytes["model"]["byte_fallback"] = True
    pieces = trained(M.WordPiece(unk_token="<unk>"), trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False,
                                                                              limit_alphabet=90), P.BertPreTokenizer(), D.WordPiece())
    words = trained(M.WordLevel(unk_token="<unk>"), trainers.WordLevelTrainer(vocab_size=200, special_tokens=special, show_progress=False), P.Whitespace())
    return {
        "bpe": bpe, "bpe_fuse_unk": retold(bpe, fuse_unk=True), "bpe_no_unk": retold(bpe, unk_token=None), "bpe_dropout": retold(bpe, dropout=0.0),
        "bpe_byte_fallback": retold(bytes_too, byte_fallback=True), "bpe_byte_fallback_fuse": retold(bytes_too, byte_fallback=True, fuse_unk=True),
        "bpe_ignore_merges": retold(bpe, ignore_merges=True, merges=json.loads(bpe.to_str())["model"]["merges"][::2]), "bpe_affixes": affixes,
        "bpe_affixes_ignore": retold(affixes, ignore_merges=True), "bpe_byte_level": byte_level, "unigram": unigram,
        "unigram_byte_fallback": Tokenizer.from_str(json.dumps(unigram_bytes)),
        "unigram_whole": changed(unigram, pre_tokenizer=None), "wordpiece": pieces, "wordpiece_short": retold(pieces, max_input_chars_per_word=4),
        "wordpiece_prefix": retold(pieces, continuing_subword_prefix=""), "wordlevel": words,
    }


def strip_added(tokenizer, names):
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] not in names]
    return Tokenizer.from_str(json.dumps(data))


def changed(tokenizer, **members):
    data = json.loads(tokenizer.to_str())
    data.update(members)
    return Tokenizer.from_str(json.dumps(data))


def post_processors():
    ids = [("<s>", 1), ("</s>", 2)]
    template = R.TemplateProcessing(single="<s> $A </s>", pair="<s>:0 $A:0 </s>:0 $B:1 </s>:1", special_tokens=ids)
    plain = base(pre=P.ByteLevel(add_prefix_space=True), decoder=D.ByteLevel())
    made = {
        "none": None, "template": template, "bert": R.BertProcessing(("</s>", 2), ("<s>", 1)), "byte_level": R.ByteLevel(trim_offsets=False),
        "byte_level_trim": R.ByteLevel(trim_offsets=True), "roberta": R.RobertaProcessing(("</s>", 2), ("<s>", 1)),
        "roberta_no_trim": R.RobertaProcessing(("</s>", 2), ("<s>", 1), trim_offsets=False, add_prefix_space=False),
        "sequence": R.Sequence([R.ByteLevel(trim_offsets=True), template]), "sequence_bert": R.Sequence([R.BertProcessing(("</s>", 2), ("<s>", 1)), template]),
    }
    result = {}
    for name, processor in made.items():
        tokenizer = Tokenizer.from_str(plain.to_str())
        if processor:
            tokenizer.post_processor = processor
        result[name] = tokenizer
    for name, how in [("right", dict(max_length=7, stride=2)), ("left", dict(max_length=6, direction="left")),
                      ("first", dict(max_length=9, strategy="only_first")), ("second", dict(max_length=9, strategy="only_second"))]:
        result["truncation_" + name] = Tokenizer.from_str(result["template"].to_str())
        result["truncation_" + name].enable_truncation(**how)
    for name, how in [("right", dict(length=8)), ("left", dict(direction="left", pad_id=2, pad_token="</s>", pad_type_id=3, pad_to_multiple_of=8))]:
        result["padding_" + name] = Tokenizer.from_str(result["bert"].to_str())
        result["padding_" + name].enable_padding(**how)
    result["both"] = Tokenizer.from_str(result["truncation_right"].to_str())
    result["both"].enable_padding(length=10)
    return result


def decoders():
    made = {
        "none": None, "byte_level": D.ByteLevel(), "wordpiece": D.WordPiece(), "wordpiece_as_is": D.WordPiece("##", False), "bpe": D.BPEDecoder("er"),
        "metaspace": D.Metaspace(), "metaspace_never": D.Metaspace(prepend_scheme="never"), "byte_fallback": D.ByteFallback(), "fuse": D.Fuse(),
        "strip": D.Strip("a", 2, 1), "replace": D.Replace("▁", " "), "replace_regex": D.Replace(Regex("[aeiou]+|(?<=n)t"), "*"),
        "ctc": D.CTC("</s>", "▁", True), "ctc_as_is": D.CTC("<s>", "on", False),
        "sequence": D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
    }
    vocabulary = ["<unk>", "<s>", "</s>", "▁", "a", "er", "##er", "##", "n't", "'s", "▁do", " not", ".", "!", ",", "'", "?", "Ġ", "Ã", "©", "on",
                  "▁the▁", "aaa", "e", "nt", "'re", "'ve", "'m", "do", "日", "é", "n", "t"] + [f"<0x{b:02X}>" for b in (0xE6, 0x97, 0xA5, 0x41, 0xFF, 0x0A)]
    added = [AddedToken("<s>", special=True), AddedToken("</s>", special=True)]
    model = M.WordLevel({token: number for number, token in enumerate(vocabulary)}, "<unk>")
    return {name: base(decoder=decoder, model=model, pre=P.WhitespaceSplit(), added=added) for name, decoder in made.items()}


def write(stage, tokenizers, texts):
    result = {}
    for name, tokenizer in tokenizers.items():
        tokenizer = Tokenizer.from_str(tokenizer.to_str())
        golden = {"tokenizer": json.loads(tokenizer.to_str())}
        if stage == "decoders":
            limit = tokenizer.get_vocab_size()
            golden["decoded"] = "".join(attempt(lambda: tokenizer.decode(ids) + ";" + tokenizer.decode(ids, skip_special_tokens=False))
                                        for ids in sequences(limit))
        else:
            golden["checks"] = "".join(attempt(lambda: line(tokenizer, text)) for text in texts)
            golden["ids"] = [tokenizer.encode(text).ids if golden["checks"][6 * i] != "-" else None for i, text in enumerate(texts[:120])]
        if stage == "post_processors":
            golden["pairs"] = "".join(attempt(lambda: encoding_line(tokenizer.encode(*pair))) for pair in zip(texts, texts[1:]))
        refused = sum(golden.get(key, "").count("------") for key in ("checks", "pairs", "decoded"))
        print(stage, name, "refused by the library:", refused) if refused else None
        result[name] = golden
    (HERE / f"{stage}.json").write_text(json.dumps(result, separators=(",", ":"), ensure_ascii=False))


def main():
    HERE.mkdir(exist_ok=True, parents=True)
    texts = strings()
    assert len(texts) >= 2000
    (HERE / "strings.json").write_text(json.dumps(texts, ensure_ascii=True))
    write("normalizers", {name: base(normalizer, P.Punctuation("contiguous")) for name, normalizer in normalizers().items()}, texts)
    write("pre_tokenizers", {name: base(pre=pre) for name, pre in pre_tokenizers().items()}, texts)
    write("models", models(), texts)
    write("post_processors", post_processors(), texts)
    write("decoders", decoders(), texts)


if __name__ == "__main__":
    main()
