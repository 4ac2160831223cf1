#!/bin/sh
# The virtual environment of the Python peers, beside this file, with pinned versions from PyPI; and the models they share
# with us, made from fixed seeds (2 GB). Does nothing where all that is there already.
#   LENS_BENCH_PYTHON: an interpreter that has the packages, used in place of a new environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${LENS_BENCH_PYTHON:-$here/.venv/bin/python}
models=${LENS_BENCH_MODELS:-$here/.models}

if [ -z "${LENS_BENCH_PYTHON:-}" ] && [ ! -f "$here/.venv/complete" ]; then
    echo "installing the Python peers (once; llama.cpp is compiled, which takes ten minutes)" >&2
    python3 -m venv "$here/.venv"
    "$here/.venv/bin/pip" install -q cmake ninja
    PATH="$here/.venv/bin:$PATH" "$here/.venv/bin/pip" install -q -r "$here/requirements.txt"
    "$here/.venv/bin/pip" install -q --no-deps transformer_lens==3.9.0
    touch "$here/.venv/complete"
fi
export HF_HUB_OFFLINE=1
[ -f "$models/gpt2-small/model.safetensors" ] || "$python" "$here/make_gpt2_small.py" "$models/gpt2-small" >&2
[ -f "$models/llama/q4_0.gguf" ] || "$python" "$here/make_llama.py" "$models/llama" >&2
echo "$python $models"
