"""Makes bin/: the weights of the golden folder qwen2-tied as torch.save writes them, whole (in the format before PyTorch 1.6)
and in two files with an index.

    python make_bin.py        # torch 2.13.0, safetensors 0.8.0
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent


def main():
    out = ROOT / "bin"
    out.mkdir(exist_ok=True)
    state = load_file(ROOT / "qwen2-tied" / "model.safetensors")
    torch.save(state, out / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    names = list(state)
    weight_map = {}
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        # One in float64: the same numbers.
        torch.save({name: state[name].double() if number == 2 else state[name] for name in part}, out / file)
        weight_map.update(dict.fromkeys(part, file))
    total = sum(tensor.nbytes for tensor in state.values())
    (out / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=1))


if __name__ == "__main__":
    main()
