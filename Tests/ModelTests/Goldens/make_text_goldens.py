"""TransformerLens' text methods on two small tokenizers: writes text.json beside this file.

Needs transformer-lens==3.9.0, transformers==5.23.0, datasets. Run: python make_text_goldens.py

The tokenizers are those of Tests/TextTests/Goldens ("byte_level", without a bos of its own, and "llama"), the model one
layer of a context of 16.
"""
import json
import pathlib
import tempfile

import datasets
import torch
from transformer_lens import HookedTransformer, HookedTransformerConfig, utils
from transformers import AutoTokenizer

HERE = pathlib.Path(__file__).parent
TEXTS = ["", " ", "Hello, world!", "the the other", "Once upon a time there was a little girl named Lily, who loved to play.", "é 👍 日本",
         "a\n\nb", "<s>x", "that"]
CONFIGS = {
    "byte_level": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"},
    "llama": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast",
              "padding_side": "left"},
}


def attempt(body):
    try:
        return body()
    except Exception:
        return None


def main():
    result = {}
    for name, config in CONFIGS.items():
        golden = json.loads((HERE.parent.parent / "TextTests" / "Goldens" / f"{name}.json").read_text())
        folder = tempfile.mkdtemp()
        pathlib.Path(folder, "tokenizer.json").write_text(json.dumps(golden["tokenizer"]))
        pathlib.Path(folder, "tokenizer_config.json").write_text(json.dumps(config))
        tokenizer = AutoTokenizer.from_pretrained(folder)
        cfg = HookedTransformerConfig(n_layers=1, d_model=4, n_ctx=16, d_head=2, n_heads=2, d_mlp=4, act_fn="relu", d_vocab=1000)
        model = HookedTransformer(cfg, tokenizer)
        out = {"config": config, "texts": TEXTS, "prepends": cfg.tokenizer_prepends_bos, "padding": model.tokenizer.padding_side}
        for bos in (None, True, False):
            kwargs = {} if bos is None else {"prepend_bos": bos}
            key = str(bos)
            out["tokens " + key] = [attempt(lambda: model.to_tokens(t, **kwargs)[0].tolist()) for t in TEXTS]
            out["long " + key] = [attempt(lambda: model.to_tokens(t, truncate=False, **kwargs)[0].tolist()) for t in TEXTS]
            out["str_tokens " + key] = [attempt(lambda: model.to_str_tokens(t, **kwargs)) for t in TEXTS]
            for side in ("left", "right", None):
                more = {} if side is None else {"padding_side": side}
                out[f"batch {side} {key}"] = model.to_tokens(TEXTS[2:7], **more, **kwargs).tolist()
        out["strings"] = model.to_string(model.to_tokens(TEXTS[2:7]))
        out["single"] = [attempt(lambda: model.to_single_token(t)) for t in TEXTS]
        tokens = model.to_tokens(TEXTS[3])[0]
        out["position"] = [[int(t), model.get_token_position(int(t), TEXTS[3]), model.get_token_position(int(t), TEXTS[3], mode="last"),
                            attempt(lambda: model.get_token_position(int(t), TEXTS[3], prepend_bos=False))] for t in tokens]
        out["single_str"] = [model.to_single_str_token(int(t)) for t in tokens]
        documents = TEXTS[2:] * 3
        for length, bos, count in ((8, True, 21), (8, False, 21), (9, True, 1), (200, True, 2), (200, False, 2)):
            data = datasets.Dataset.from_dict({"text": documents[:count]})
            fresh = AutoTokenizer.from_pretrained(folder)
            rows = utils.tokenize_and_concatenate(data, fresh, max_length=length, add_bos_token=bos, num_proc=None)
            out[f"rows {length} {bos} {count}"] = [row.tolist() for row in rows["tokens"]]
        result[name] = out
    (HERE / "text.json").write_text(json.dumps(result, separators=(",", ":")))


torch.set_grad_enabled(False)
main()
