"""Text for the encoders' and encoder-decoders' goldens: tiny tokenizers in the folders `bert` and `t5`, and what Hugging Face makes
of texts with them.

    python -m goldenmaker.encdec_text
"""

import json
import logging
import sys
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

ROOT = Path(__file__).resolve().parent.parent
WORDS = ("the a cat dog sat on mat house hello world apple apples you do like is of capital and red blue runs fast slow sky it rains "
         "i stay at home because he went to city").split()


def bert_tokenizer():
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", ",", "?", "!"] + WORDS + [f"##{letter}" for letter in letters]
    words += [letter for letter in letters if letter not in words][: 97 - len(words)]
    assert len(words) <= 97 and len(set(words)) == len(words), len(words)
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
                                      mask_token="[MASK]", model_max_length=24, padding_side="right")


def t5_tokenizer():
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [("▁" + word, -3.0) for word in WORDS]
    pieces += [(letter, -6.0) for letter in "▁abcdefghijklmnopqrstuvwxyz.,?!:"]
    assert len(pieces) <= 97
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return hf.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", eos_token="</s>", padding_side="right")


TEXTS = ["Hello world!", "The cat [MASK] on the [MASK].", "you do like apples, do you [MASK]?", "a"]
PAIRS = [("The cat sat on the mat.", "it is red"), ("it rains.", "i stay at home because it rains, and he went to the city.")]
T5_TEXTS = ["the capital of the house is blue", "hello world.", "do you like red apples? i do, and the dog is at home"]


def main():
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    document = {}
    tokenizer = bert_tokenizer()
    tokenizer.save_pretrained(ROOT / "bert")
    model = hf.BertForPreTraining.from_pretrained(ROOT / "bert", attn_implementation="eager").eval()

    def fields(batch):
        return {"ids": batch.input_ids.tolist(), "types": batch.token_type_ids.tolist(), "mask": batch.attention_mask.tolist()}
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=True)
    with torch.no_grad():
        result = model(**batch, output_hidden_states=True)
    predictions = []
    for row, ids in enumerate(batch.input_ids.tolist()):
        predictions.append([tokenizer.decode([int(result.prediction_logits[row, place].argmax())]) for place, token in enumerate(ids) if token == 4])
    pooled = model.bert(**batch).pooler_output
    mask = batch.attention_mask[..., None].float()
    mean = (result.hidden_states[-1] * mask).sum(1) / mask.sum(1)
    plain = tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=True, add_special_tokens=False)
    pairs = tokenizer([a for a, _ in PAIRS], [b for _, b in PAIRS], padding=True, return_tensors="pt", return_token_type_ids=True)
    with torch.no_grad():
        next_logits = model(**pairs).seq_relationship_logits
    long = tokenizer(["the cat sat on the mat and " * 6], truncation=True, max_length=24, return_tensors="pt", return_token_type_ids=True)
    document["bert"] = {
        "texts": TEXTS, **fields(batch), "plain": fields(plain), "predictions": predictions, "pooled": pooled.tolist(), "mean": mean.tolist(),
        "pairs": [list(pair) for pair in PAIRS], "pair_fields": fields(pairs), "next_logits": next_logits.tolist(), "long": fields(long)}

    tokenizer = t5_tokenizer()
    tokenizer.save_pretrained(ROOT / "t5")
    model = hf.T5ForConditionalGeneration.from_pretrained(ROOT / "t5", attn_implementation="eager").eval()
    batch = tokenizer(T5_TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    config = hf.GenerationConfig(max_new_tokens=12, do_sample=False, pad_token_id=0, decoder_start_token_id=0, eos_token_id=1)
    model.generation_config = config
    written = model.generate(**batch)
    begun = model.generate(**batch, decoder_input_ids=torch.tensor([[0] + tokenizer("hello", add_special_tokens=False).input_ids] * 3))
    with torch.no_grad():
        first = model(**batch, decoder_input_ids=torch.zeros(3, 1, dtype=torch.long)).logits[:, 0]
    document["t5"] = {"texts": T5_TEXTS, "ids": batch.input_ids.tolist(), "mask": batch.attention_mask.tolist(), "first_logits": first.tolist(),
                      "written": tokenizer.batch_decode(written, skip_special_tokens=True), "written_ids": written.tolist(),
                      "begun": tokenizer.batch_decode(begun, skip_special_tokens=True), "begun_ids": begun.tolist()}
    body = ",\n".join(f' "{name}": {{\n' + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in part.items()) + "\n }"
                      for name, part in document.items())
    (ROOT / "encoder-text.json").write_text("{\n" + body + "\n}\n")


if __name__ == "__main__":
    sys.exit(main())
