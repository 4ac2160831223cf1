"""Writes a Hugging Face folder shaped like GPT-2 small, with random weights from a fixed seed (about 500 MB).

    python make_gpt2_small.py FOLDER [--layers N] [--vocabulary N]

The weights have the scales of the trained model, about, so that no activation is denormal or huge. Keep the folder
out of the repository.
"""

import argparse
import math
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--vocabulary", type=int, default=50257)
    arguments = parser.parse_args()
    model = GPT2LMHeadModel(GPT2Config(n_layer=arguments.layers, vocab_size=arguments.vocabulary, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.randn(parameter.shape, generator=generator)
        if "ln_" in name:
            value = 0.05 * draw + (0.0 if name.endswith("bias") else 1.0)
        elif parameter.dim() == 1:
            value = 0.05 * draw
        elif "wte" in name or "wpe" in name:
            value = (0.14 if "wte" in name else 0.1) * draw
        else:
            value = draw / math.sqrt(parameter.shape[0])
        parameter.data.copy_(value)
    model.tie_weights()
    model.save_pretrained(arguments.folder)
    print(arguments.folder)


if __name__ == "__main__":
    main()
