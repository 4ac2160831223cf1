"""Makes gguf/blocks.gguf, random blocks of every quantised type that is decoded, and gguf/blocks.safetensors, what gguf makes
of them.

    python make_gguf_blocks.py        # gguf 0.19.0, numpy 2.4.6, safetensors 0.8.0
"""

from pathlib import Path

import gguf
import numpy
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parent / "gguf"
# Where a block of the type has numbers of float16.
HALVES = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q2_K: [80, 82], Type.Q3_K: [108],
          Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}
# Scales that are not like others: none, negative, subnormal, the largest, infinite, one and its neighbour.
ODD = numpy.array([0, -0.0, -1.5, 6e-8, -6e-5, 65504, numpy.inf, -numpy.inf, 1, 0.99951], dtype=numpy.float16)


def blocks(kind, generator, count):
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    made = generator.integers(0, 256, (count, size), dtype=numpy.uint8)
    for place in HALVES[kind]:
        scales = generator.standard_normal(count).astype(numpy.float16)
        odd = min(len(ODD), count // 2)
        scales[:odd] = generator.permutation(ODD)[:odd]
        made[:, place:place + 2] = scales.view(numpy.uint8).reshape(-1, 2)
    # Every byte the same, all zeros and all ones among them.
    for row, byte in enumerate([0, 255, 0x55], start=count - 3):
        made[row, max(HALVES[kind]) + 2 if max(HALVES[kind]) < 4 else 0:min(size, max(HALVES[kind]) if max(HALVES[kind]) > 4 else size)] = byte
    return made


def main():
    ROOT.mkdir(exist_ok=True)
    generator = numpy.random.default_rng(7)
    writer = gguf.GGUFWriter(ROOT / "blocks.gguf", "blocks")
    expected = {}
    with numpy.errstate(invalid="ignore", over="ignore"):
        for kind in HALVES:
            elements, _ = gguf.GGML_QUANT_SIZES[kind]
            count = 48 if elements == 32 else 12
            made = blocks(kind, generator, count)
            writer.add_tensor(kind.name, made.reshape(3, -1), raw_dtype=kind)
            expected[kind.name] = gguf.quants.dequantize(made.reshape(3, -1), kind).astype(numpy.float32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, ROOT / "blocks.safetensors")


if __name__ == "__main__":
    main()
