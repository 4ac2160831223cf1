"""What the scripts here share: the two Python programs on one folder, versions, and tokens anyone can restate."""

import platform
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import torch

GOLDENS = Path(__file__).resolve().parents[2] / "Tests" / "ModelTests" / "Goldens"
sys.path.insert(0, str(GOLDENS))  # goldenmaker.tl_models: Hugging Face weights as a TransformerLens model
warnings.filterwarnings("ignore")


def load_hf(folder, attention="sdpa"):
    """The causal language model of a Hugging Face folder, float32."""
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar
    disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention, dtype=torch.float32).eval()


def load_tl(hf_model, **flags):
    """The same weights in TransformerLens 3.9.0, unprocessed."""
    from goldenmaker.tl_models import to_tl
    return to_tl(hf_model, **flags)


def tokens(batch, length, vocabulary):
    """[batch, length]: the token of row b at position i is (7919 * (b * length + i) + 13) mod the vocabulary."""
    count = torch.arange(batch * length).view(batch, length)
    return (7919 * count + 13) % vocabulary


def versions():
    names = ["torch", "transformers", "transformer_lens", "safetensors"]
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
