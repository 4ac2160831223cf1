#!/bin/sh
# Makes tiny-ioi again: `train.sh TLENS OUT`. Minutes on two cores; a run that was stopped goes on.
set -eu
tlens=$1 out=$2
here=$(dirname "$0")
mkdir -p "$out"
python3 "$here/language.py" tokenizer > "$out/tokenizer.json"
cp "$here/tokenizer_config.json" "$out/"
python3 "$here/language.py" train --seed 0 --documents 250000 > "$out/sentences.txt"
python3 "$here/language.py" train --seed 2 --documents 150000 --repetitions 0.45 > "$out/repetitions.txt"
python3 "$here/language.py" train --seed 3 --documents 150000 --repetitions 0.25 > "$out/mixture.txt"
python3 "$here/language.py" held-out --seed 1 > "$out/held-out.json"
train() { # TEXT ARGUMENT...
    text=$1
    shift
    "$tlens" train --data "$out/$text.txt" --tokenizer "$out" --separator=--- --held-out 0.01 --batch-size 64 --optimizer AdamW \
        --weight-decay 0.05 --schedule cosine --clip 1 --keep 1 "$@"
}
# Sentences; then, with random words repeated among them, heads that do nothing but look one word back, or copy; then more of both.
train sentences --config "$here/train.json" --steps 1700 --lr 0.002 --warmup 200 --out "$out/first"
train sentences --from "$out/first" --steps 700 --lr 0.001 --warmup 50 --seed 1 --dtype f16 --out "$out/second"
train repetitions --from "$out/second" --steps 1800 --lr 0.002 --warmup 100 --seed 2 --dtype f16 --out "$out/third"
train mixture --from "$out/third" --steps 900 --lr 0.001 --warmup 50 --seed 3 --dtype f16 --out "$out/model"
python3 "$here/evaluate.py" "$tlens" "$out/model" "$out/held-out.json"
