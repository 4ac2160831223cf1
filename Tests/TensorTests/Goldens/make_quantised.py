"""Writes quantised.gguf: tensors quantised in blocks of each type, their values as gguf-py dequantises them, and numbers as
gguf-py quantises them. Needs numpy and gguf 0.19.

    python make_quantised.py [folder]

For each type T of ggml: `T` [3, 512] holds random blocks (every bit random but the float16 scales, which are ordinary
numbers), `T.values` the float32 it stands for. `numbers` [8, 64] are float32; `q8_0.made` and `q4_0.made` are its blocks.
"""
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, quants
from gguf.constants import GGML_QUANT_SIZES

# Where the float16 fields of a block are.
SCALES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}


def random_blocks(random, kind, rows, width):
    size, count = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (rows, width // size, count), dtype=np.uint8)
    for place in SCALES[kind.name]:
        scales = (random.standard_normal((rows, width // size)) / 50).astype(np.float16)
        scales[0, 0] = np.float16(6e-8)  # a denormal
        blocks[:, :, place:place + 2] = scales.view(np.uint8).reshape(rows, -1, 2)
    return blocks.reshape(rows, -1)


def numbers(random):
    values = random.standard_normal((8, 64)).astype(np.float32)
    values[0, :32] = 0
    values[1] *= 1e-3
    values[2, 5], values[2, 40] = 100, -100  # one weight far from the rest
    values[3, :32] = np.arange(32) - 16  # ties: halves of a step
    values[4, :32] = np.float32(0.5) * (np.arange(32) % 9 - 4)
    values[5, :32] = -3
    values[6, 1] = values[6, 2] = 4  # the largest twice, with both signs
    values[6, 3] = -4
    values[7] *= 1e4
    return values


def main(folder):
    random = np.random.default_rng(0)
    writer = GGUFWriter(folder / "quantised.gguf", "none")
    for name in SCALES:
        kind = Type[name]
        blocks = random_blocks(random, kind, 3, 512)
        key = name.lower().replace("_k", "_K")
        writer.add_tensor(key, blocks, raw_dtype=kind)
        writer.add_tensor(key + ".values", quants.dequantize(blocks, kind))
    values = numbers(random)
    writer.add_tensor("numbers", values)
    for kind in (Type.Q8_0, Type.Q4_0):
        writer.add_tensor(kind.name.lower() + ".made", quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent))
