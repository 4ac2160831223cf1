"""Makes the golden of the backward lens from TransformerLens 3.9.0 (`tools/analysis/backward_lens.py`).

    python make_backward_goldens.py

The model is the golden folder `gpt2-tiny` of the model tests, unprocessed, in a bridge (the tool takes nothing else), with the
words of `experiments/tokenizer`. `experiments/backward.json` says what was asked and which tokens stand where;
`experiments/backward.safetensors` holds, for each layer and matrix (`in`, `out`), the factors, the gradient, norms, logits and ranks.
Versions are those of ../../ModelTests/Goldens/requirements.txt. Needs no network.
"""

import json
import logging
import sys
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis.backward_lens import BackwardLens

ROOT = Path(__file__).resolve().parent
MODELS = ROOT.parent.parent / "ModelTests" / "Goldens"
PROMPT, TARGET, LAYERS, TOP = "Then Mary and John went to the store.", " milk", [2, 0], 5


def tensors_of(result, prefix):
    factors = result.factors
    out = {"forward_inputs": factors.forward_inputs, "output_gradients": factors.output_gradients, "gradient": factors.weight_gradient,
           "norms": result.factor_norms, "logits": result.vocabulary_logits, "normalized_logits": result.normalized_vocabulary_logits,
           "top": result.top_ranking.values, "top_tokens": result.top_ranking.indices,
           "bottom": result.bottom_ranking.values, "bottom_tokens": result.bottom_ranking.indices,
           "target_largest": result.target_largest_ranks, "target_smallest": result.target_smallest_ranks,
           "normalized_target_smallest": result.normalized_target_smallest_ranks}
    return {f"{prefix}/{key}": value.float().contiguous().clone() for key, value in out.items()}


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    words = transformers.AutoTokenizer.from_pretrained(str(ROOT / "experiments" / "tokenizer"))
    folder = str(MODELS / "gpt2-tiny")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    bridge = TransformerBridge.boot_transformers(folder, hf_model=model, tokenizer=words, device="cpu")
    result = BackwardLens(bridge).analyze(PROMPT, TARGET, LAYERS, normalized=True, top_k=TOP, return_full_logits=True)
    tensors = {}
    for layer in result.layers:
        tensors.update(tensors_of(layer.input_projection, f"{layer.layer}/in"))
        tensors.update(tensors_of(layer.output_projection, f"{layer.layer}/out"))
    document = {"tokens": result.prompt_token_ids.tolist(), "target": result.target_token_id, "layers": LAYERS, "top": TOP, "loss": result.loss}
    (ROOT / "experiments" / "backward.json").write_text(json.dumps(document) + "\n")
    save_file(tensors, ROOT / "experiments" / "backward.safetensors")
    print(document, len(tensors), "tensors,", sum(t.numel() for t in tensors.values()), "numbers; errors", result.max_absolute_reconstruction_error)


if __name__ == "__main__":
    sys.exit(main())
