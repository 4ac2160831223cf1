"""Makes the PyTorch files of the file tests, with torch itself, and what is in them as safetensors.

    python make_pytorch.py            # torch 2.13.0, numpy 2.4.6, safetensors 0.8.0

Every `pytorch/NAME.pt` is read by the tests; `pytorch/expected.safetensors` holds `NAME/TENSOR` for each of its tensors, row
by row. `pytorch/refused/` holds files that must be refused, each naming what it asks for.
"""

import argparse
import builtins
import collections
import os
import pickle
from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent / "pytorch"
expected = {}


def flat(value, name=""):
    """Tensors under their joined keys."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from flat(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for key, item in enumerate(value):
            yield from flat(item, f"{name}.{key}" if name else str(key))


def write(name, value, tensors=None, **options):
    torch.save(value, ROOT / f"{name}.pt", **options)
    for key, tensor in flat(value if tensors is None else tensors):
        expected[f"{name}/{key or 'tensor'}"] = tensor.detach().clone().contiguous()


def dtypes():
    values = torch.randn(3, 5)
    tensors = {str(t).removeprefix("torch."): values.to(t) for t in (torch.float32, torch.float64, torch.float16, torch.bfloat16)}
    for t in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8):
        tensors[str(t).removeprefix("torch.")] = torch.randint(0, 100, (2, 3)).to(t)
    tensors["bool"] = values > 0
    return tensors


def new_dtypes():
    """Types that torch rebuilds another way."""
    tensors = {str(t).removeprefix("torch."): torch.randint(0, 100, (7,)).to(t) for t in (torch.uint16, torch.uint32, torch.uint64)}
    for t in (torch.float8_e4m3fn, torch.float8_e5m2):
        tensors[str(t).removeprefix("torch.")] = torch.randn(9).to(t)
    return tensors


def views():
    base = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    table = torch.randn(7, 6)
    return {
        "whole": base, "transposed": table.T, "permuted": base.permute(2, 0, 3, 1), "columns": table[:, 1:4], "rows": table[2:5],
        "steps": table[1::2, ::3], "expanded": table[:, :1].expand(7, 9), "scalar": table[3, 2], "diagonal": table.diagonal(),
        "swapped": base.transpose(1, 2), "empty": table[:0], "noColumns": table[:, 3:3], "row": table[5], "ones": base[:, :1, :, :1].transpose(0, 3),
        "parameter": torch.nn.Parameter(table.clone().T), "buffer": torch.nn.Buffer(torch.arange(4)),
    }


def checkpoint():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    state = model.state_dict()
    value = {"epoch": 3, "loss": numpy.float64(1.5), "losses": numpy.arange(3.0), "big": 1 << 100, "small": -5, "name": "Grüße", "flags": {1, 2},
             "none": None, "rng": torch.get_rng_state()[:8].clone(), "model_state_dict": state, "optimizer": optimizer.state_dict(),
             "counts": collections.defaultdict(int, a=1), "size": torch.Size([1, 2]), "dtype": torch.float32, "device": torch.device("cpu")}
    return value, state


class Attack:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def refused():
    """Files that ask for more than tensors; the file's name is the name that must be in the error."""
    folder = ROOT / "refused"
    folder.mkdir(exist_ok=True)
    attacks = {
        "posix.system": Attack(os.system, "echo run > /dev/null"), "builtins.eval": Attack(builtins.eval, "1"),
        "builtins.exec": Attack(builtins.exec, "1"), "builtins.getattr": Attack(getattr, "a", "upper"),
        "torch.storage._load_from_bytes": Attack(torch.storage._load_from_bytes, b"x"),
        "argparse.Namespace": argparse.Namespace(a=1), "torch.nn.modules.linear.Linear": torch.nn.Linear(2, 2),
        "torch.ComplexDoubleStorage": torch.zeros(2, dtype=torch.complex128),
    }
    for name, attack in attacks.items():
        value = {"weight": torch.zeros(2), "attack": attack}
        torch.save(value, folder / f"{name}.zip.pt")
        if name != "torch.nn.modules.linear.Linear":  # the stream would hold the class's source and where it lies
            torch.save(value, folder / f"{name}.stream.pt", _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.zeros(2), "attack": Attack(os.system, "echo")}, folder / "posix.system.protocol5.pt", pickle_protocol=5)
    # A plain pickle, as a file called .bin might be.
    (folder / "PyTorch.pt").write_bytes(pickle.dumps({"weight": [1.0]}, protocol=2))
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), folder / "TorchScript.pt")


def main():
    ROOT.mkdir(exist_ok=True)
    torch.manual_seed(1)
    for old in [*ROOT.glob("*.pt"), *ROOT.glob("refused/*.pt")]:
        old.unlink()
    for suffix, options in {"": {}, "-stream": {"_use_new_zipfile_serialization": False}, "-protocol4": {"pickle_protocol": 4},
                            "-protocol5": {"pickle_protocol": 5}}.items():
        write(f"dtypes{suffix}", dtypes(), **options)
        write(f"views{suffix}", views(), **options)
        value, state = checkpoint()
        write(f"checkpoint{suffix}", value, state, **options)
    write("new-dtypes", new_dtypes())
    write("state-dict", torch.nn.TransformerEncoderLayer(4, 2, 8).state_dict())
    inner = {"a.weight": torch.randn(2, 2), "b": torch.randn(3)}
    write("wrapped", {"state_dict": {f"module.{name}": tensor for name, tensor in inner.items()}, "step": 5}, inner)
    write("compiled", {"module": {f"_orig_mod.{name}": tensor for name, tensor in inner.items()}, "dp_world_size": 1}, inner)
    write("nested", {"encoder": inner, "layers": [torch.randn(2), (torch.randn(1), torch.randn(3))], 7: torch.randn(2), "text": "x"})
    write("single", torch.randn(4, 2))
    save_file(expected, ROOT / "expected.safetensors")
    refused()


if __name__ == "__main__":
    main()
