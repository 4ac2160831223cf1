"""Writes a GGUF file in the K formats, every matrix in the same one, with llama.cpp's own quantiser.

    python k_formats.py FILE.gguf

FILE is in f32 (make_llama.py makes one); q2_K.gguf, q3_K.gguf, q4_K.gguf, q5_K.gguf and q6_K.gguf are written beside it.
docs/quantization.md has what they cost (`tlens eval q4_K.gguf --against f32.gguf --text-file …`).
"""

import argparse
import ctypes
from pathlib import Path

import llama_cpp

# llama.cpp's numbers of file types: LLAMA_FTYPE_MOSTLY_Q2_K, Q3_K_S, Q4_K_S, Q5_K_S, Q6_K.
FORMATS = {"q2_K": 10, "q3_K": 11, "q4_K": 14, "q5_K": 16, "q6_K": 18}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    for name, number in FORMATS.items():
        options = llama_cpp.llama_model_quantize_default_params()
        options.ftype, options.pure = number, True
        out = file.with_name(f"{name}.gguf")
        if llama_cpp.llama_model_quantize(str(file).encode(), str(out).encode(), ctypes.byref(options)) != 0:
            raise RuntimeError(f"llama.cpp did not write {out}")
        print(out)


if __name__ == "__main__":
    main()
