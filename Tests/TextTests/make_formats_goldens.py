"""Small tokenizers in every format, and what Hugging Face's converters and tokenizers make of them.

Needs transformers==5.23.0, sentencepiece==0.2.3, protobuf, gguf==0.19.0.
Run: python make_formats_goldens.py   (writes Goldens/Formats)

Each folder holds a tokenizer in one format and golden.json: "ids" for each string of ../strings.json in turn, without
special tokens, and "full" with them, of the tokenizer.json that the converter makes; null in "full" means as "ids".
"""
import base64
import io
import json
import pathlib
import shutil

import gguf
import sentencepiece as spm
import transformers.convert_slow_tokenizer as convert
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, GPT2Tokenizer

HERE = pathlib.Path(__file__).parent / "Goldens"
OUT = HERE / "Formats"
STRINGS = json.loads((HERE / "strings.json").read_text())[::2]
TEXT = (pathlib.Path(__file__).parent / "make_goldens.py").read_text().split('"""')[3]
LINES = [line for line in TEXT.splitlines() if line.strip()] * 3


def golden(name, tokenizer, **more):
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in STRINGS]
    full = [tokenizer.encode(text).ids for text in STRINGS]
    full = [None if a == b else b for a, b in zip(ids, full)]
    (OUT / name / "golden.json").write_text(json.dumps({"ids": ids, "full": full, **more}, separators=(",", ":")))


def folder(name):
    path = OUT / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def train(**options):
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(sentence_iterator=iter(LINES), model_writer=out, minloglevel=2, **options)
    return out.getvalue()


class Slow:
    """What a converter asks of a slow tokenizer."""

    def __init__(self, path, **attributes):
        self.vocab_file = str(path)
        self.processor = spm.SentencePieceProcessor(model_file=str(path))
        self.__dict__.update(attributes)

    def convert_ids_to_tokens(self, index):
        return self.processor.id_to_piece(index)

    def convert_tokens_to_ids(self, token):
        return self.processor.piece_to_id(token)


class ScoredExtractor(convert.SentencePieceExtractor):
    """transformers 5.23 passes its extractor the scores where it expects a class; this is what it did before."""

    def extract(self, vocab_scores):
        vocab = {piece.piece: index for index, piece in enumerate(self.proto.pieces)}
        return vocab, convert.generate_merges(vocab, vocab_scores)


convert.LlamaConverter.SpmExtractor = ScoredExtractor


def add_special(tokenizer, *tokens):
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])


def llama(name, config=None, **options):
    path = folder(name)
    model = train(model_type="bpe", byte_fallback=True, vocab_size=620, normalization_rule_name="identity",
                  remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True,
                  user_defined_symbols=["<sep>", "▁▁▁"], control_symbols=["<ctl>"], character_coverage=0.99, **options)
    (path / "tokenizer.model").write_bytes(model)
    config = config or {}
    if config:
        (path / "tokenizer_config.json").write_text(json.dumps(config))
    slow = Slow(path / "tokenizer.model", legacy=config.get("legacy", True), add_prefix_space=config.get("add_prefix_space", True))
    tokenizer = convert.LlamaConverter(slow).converted()
    add_special(tokenizer, "<unk>")
    if config.get("add_bos_token", True):
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    golden(name, tokenizer)
    return path, tokenizer


def unigram(name, converter, config=None, **options):
    path = folder(name)
    model = train(model_type="unigram", vocab_size=235, character_coverage=0.98, user_defined_symbols=["<sep>"],
                  **options)
    (path / "spiece.model").write_bytes(model)
    slow = Slow(path / "spiece.model", _extra_ids=(config or {}).get("extra_ids", 0))
    if config:
        (path / "tokenizer_config.json").write_text(json.dumps(config))
    if converter is convert.XLMRobertaConverter:
        slow.convert_tokens_to_ids = {"<s>": 0, "</s>": 2}.get
    tokenizer = converter(slow).converted()
    if converter is convert.XLMRobertaConverter:
        add_special(tokenizer, "<s>", "<pad>", "</s>", "<unk>")
        tokenizer.add_tokens([AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    else:
        add_special(tokenizer, "<unk>", *[f"<extra_id_{i}>" for i in range(slow._extra_ids)])
    golden(name, tokenizer)
    return path, tokenizer


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
                                  show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab, merges = model["vocab"], [tuple(merge) for merge in model["merges"]]
    path = folder("vocab_merges")
    vocab["<|endoftext|>"] = len(vocab)
    (path / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (path / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    golden("vocab_merges", GPT2Tokenizer.from_pretrained(path).backend_tokenizer)
    tiktoken(vocab)
    gguf_gpt2(vocab, merges)


def tiktoken(vocab):
    path = folder("tiktoken")
    decoder = {character: byte for byte, character in convert.bytes_to_unicode().items()}
    ranks = {bytes(decoder[c] for c in token): rank for token, rank in vocab.items() if token != "<|endoftext|>"}
    lines = [base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()]
    (path / "test.tiktoken").write_bytes(b"".join(lines))
    convert.TikTokenConverter.load_tiktoken_bpe = staticmethod(lambda _: ranks)
    (path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": {
        str(len(ranks) + n): {"content": token, "special": True} for n, token in ((0, "<|endoftext|>"), (2, "<|end|>"))}}))
    converter = convert.TikTokenConverter("test.tiktoken", extra_special_tokens=[
        "<|endoftext|>", f"<|reserved_token_{len(ranks) + 1}|>", "<|end|>"])
    golden("tiktoken", converter.converted())


def bert():
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
                                        show_progress=False, limit_alphabet=120)
    tokenizer.train_from_iterator([TEXT], trainer)
    vocab = tokenizer.get_vocab()
    for name, config in ("vocab_txt", {}), ("vocab_txt_cased", {"do_lower_case": False, "tokenize_chinese_chars": False}):
        path = folder(name)
        tokens = sorted(vocab, key=vocab.get)
        (path / "vocab.txt").write_text("".join(token + "\n" for token in tokens))
        if config:
            (path / "tokenizer_config.json").write_text(json.dumps(config))
        golden(name, BertTokenizer.from_pretrained(path, **config).backend_tokenizer)
    path = folder("gguf_bert")
    writer = start_gguf(path, "bert", "bert", [t[2:] if t.startswith("##") else t if t[0] == "[" and t[-1] == "]" else "▁" + t
                                               for t in tokens])
    writer.add_token_types([3 if t[0] == "[" and t[-1] == "]" else 1 for t in tokens])
    for key, token in ("unknown", "[UNK]"), ("seperator", "[SEP]"), ("padding", "[PAD]"), ("cls", "[CLS]"), ("mask", "[MASK]"):
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", vocab[token])
    finish(writer)
    golden("gguf_bert", BertTokenizer.from_pretrained(OUT / "vocab_txt").backend_tokenizer)


def start_gguf(path, architecture, model, tokens):
    writer = gguf.GGUFWriter(path / "model.gguf", architecture)
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    return writer


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_gpt2(vocab, merges):
    path = folder("gguf_gpt2")
    writer = start_gguf(path, "gpt2", "gpt2", list(vocab))
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_types([3 if token == "<|endoftext|>" else 1 for token in vocab])
    writer.add_token_merges([f"{a} {b}" for a, b in merges])
    writer.add_bos_token_id(len(vocab) - 1)
    writer.add_eos_token_id(len(vocab) - 1)
    writer.add_chat_template([{"name": "default", "template": "{{ bos_token }}"}, {"name": "tool_use", "template": "tools"}])
    finish(writer)
    golden("gguf_gpt2", GPT2Tokenizer.from_pretrained(OUT / "vocab_merges").backend_tokenizer)


def gguf_spm(name, source, model, tokenizer):
    path = folder(name)
    pb = convert.import_protobuf()
    proto = pb.ModelProto()
    proto.ParseFromString(next((OUT / source).glob("*.model")).read_bytes())
    writer = start_gguf(path, model, model, [piece.piece for piece in proto.pieces])
    writer.add_token_scores([piece.score for piece in proto.pieces])
    writer.add_token_types([piece.type for piece in proto.pieces])
    spec = proto.trainer_spec
    writer.add_unk_token_id(spec.unk_id)
    writer.add_eos_token_id(spec.eos_id)
    if spec.bos_id >= 0:
        writer.add_bos_token_id(spec.bos_id)
    if model == "t5":
        writer.add_precompiled_charsmap(proto.normalizer_spec.precompiled_charsmap)
    finish(writer)
    golden(name, tokenizer)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    _, tokenizer = llama("spm_bpe")
    gguf_spm("gguf_llama", "spm_bpe", "llama", tokenizer)
    llama("spm_bpe_first", {"legacy": False, "add_bos_token": False, "tokenizer_class": "LlamaTokenizer"})
    llama("spm_bpe_never", {"legacy": True, "add_prefix_space": False, "add_bos_token": True})
    # "identity" keeps the file small; Precompiled itself is tested on nmt_nfkc elsewhere.
    _, tokenizer = unigram("spm_unigram", convert.T5Converter, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                           normalization_rule_name="identity")
    unigram("spm_t5", convert.T5Converter, {"tokenizer_class": "T5Tokenizer", "extra_ids": 5}, pad_id=0, eos_id=1, unk_id=2,
            bos_id=-1, normalization_rule_name="identity")
    unigram("spm_xlmr", convert.XLMRobertaConverter, {"tokenizer_class": "XLMRobertaTokenizer"}, unk_id=0, bos_id=1, eos_id=2,
            normalization_rule_name="identity")
    gguf_spm("gguf_t5", "spm_unigram", "t5", tokenizer)
    byte_level()
    bert()


main()
