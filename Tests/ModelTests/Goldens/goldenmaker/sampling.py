"""Distributions that tokens are drawn from, by Hugging Face's logits processors in TransformerLens' order: repetition penalty,
temperature, frequency and presence penalties (TransformerLens has the first of these, as bincount times penalty), top-k,
top-p, min-p. Writes sampling.json."""

import json
from pathlib import Path

import torch
from transformers.generation.logits_process import (MinPLogitsWarper, RepetitionPenaltyLogitsProcessor,
                                                    TopKLogitsWarper, TopPLogitsWarper)

CASES = [{}, {"temperature": 0.7}, {"top_k": 3}, {"top_p": 0.6}, {"min_p": 0.3}, {"repetition_penalty": 1.8},
         {"frequency_penalty": 0.5}, {"presence_penalty": 0.9}, {"temperature": 2.0, "top_k": 6, "top_p": 0.7, "min_p": 0.2},
         {"repetition_penalty": 0.6, "frequency_penalty": 0.3, "presence_penalty": 0.2, "temperature": 1.3, "top_p": 0.9}]


def distribution(logits, tokens, case):
    scores, ids = logits.clone()[None], torch.tensor([tokens])
    if "repetition_penalty" in case:
        scores = RepetitionPenaltyLogitsProcessor(case["repetition_penalty"])(ids, scores)
    scores = scores / case.get("temperature", 1.0)
    counts = torch.bincount(ids[0], minlength=scores.shape[-1])
    scores = scores - case.get("frequency_penalty", 0.0) * counts - case.get("presence_penalty", 0.0) * (counts > 0)
    for key, warper in (("top_k", TopKLogitsWarper), ("top_p", TopPLogitsWarper), ("min_p", MinPLogitsWarper)):
        if key in case:
            scores = warper(case[key])(ids, scores)
    return scores.softmax(-1)[0]


def main():
    generator = torch.Generator().manual_seed(7)
    entries = []
    for index, case in enumerate(CASES):
        logits = torch.randn(11, generator=generator, dtype=torch.float64) * 2
        tokens = torch.randint(0, 11, (9,), generator=generator).tolist()
        entries.append({"options": case, "tokens": tokens, "logits": [round(x, 6) for x in logits.tolist()],
                        "probabilities": distribution(torch.tensor([round(x, 6) for x in logits.tolist()], dtype=torch.float64), tokens, case).tolist()})
    path = Path(__file__).resolve().parent.parent / "sampling.json"
    path.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in entries) + "\n]\n")


if __name__ == "__main__":
    main()
