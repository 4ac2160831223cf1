#!/bin/sh
# Looks inside tiny-ioi, the small transformer that is part of tlens: no download, no other file. `make demo` builds first.
set -eu
cd "$(dirname "$0")/.."
tlens=.build/release/tlens
model=tiny-ioi
prompt="When Mary and John went to the store, John gave a drink to"
other="When Mary and John went to the store, Mary gave a drink to"

step() { # TEXT ARGUMENT...
    printf '\n# %s\n$ tlens' "$1"
    shift
    for word in "$@"; do
        case $word in
        *' '* | '') printf ' "%s"' "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$tlens" "$@"
}

mkdir -p demo
step "What comes next. The model was trained on a small made-up language (its card: CKernels/CShippedFiles/tiny-ioi/README.md)." \
    run $model --prompt "$prompt" --top 5
step "Where its heads look from the last word on." attention $model --prompt "$prompt" --top 2
step "The logit lens: what each layer would say next." lens $model --prompt "$prompt" --target " Mary" --layers-only
step "Which heads look one word back, and which do induction: on random words, said twice." heads $model --top 3
step "An induction head: at a word seen before it looks at what came after." \
    attention $model --prompt "The code is alpha kilo tango zulu. Again: alpha kilo tango" --head L2H1
step "Which heads carry the name: each one's output put into a run on a prompt where the other name is right." \
    patch $model --clean "$prompt" --corrupted "$other" --answer " Mary" --wrong " John" --what attn_head_out_all_pos --top 5
step "The same by one pass back: attribution patching." \
    patch $model --clean "$prompt" --corrupted "$other" --answer " Mary" --wrong " John" --what attn_head_out_all_pos --top 5 --estimate
step "The circuit behind it: edges scored by gradients, then every other edge really ablated." \
    circuit $model --prompt "$prompt" --corrupt "$other" --answer " Mary" --wrong " John" --top 10 --dot demo/circuit.dot
step "Generation, then the same with a direction added: from what belongs to France to what belongs to Japan." \
    steer $model --positive "People in Japan speak" --negative "People in France speak" --prompt "People in France speak" \
    --at all --temperature 0 --max-new-tokens 1
step "Everything in one file, which Python's safetensors reads too." \
    run $model --prompt "$prompt" --cache all --out demo/acts.safetensors --top 1
step "Tokens per second." bench $model

stories=../shared/models/stories260K
if [ -e "$stories/config.json" ]; then
    step "A LLaMA of 260 thousand parameters, trained on children's stories." \
        generate "$stories" --prompt "Once upon a time" --temperature 0 --max-new-tokens 80
fi
printf '\nNow a model of your own: .build/release/tlens info FOLDER, with a config.json and model.safetensors in it.\n'
