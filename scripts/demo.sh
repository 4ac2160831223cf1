#!/bin/sh
# Runs every command of tlens on a tiny random GPT-2 that is made on the spot, in ./demo. `make demo` builds first.
set -eu
cd "$(dirname "$0")/.."
tlens=.build/release/tlens
model=demo/tiny-gpt2

step() { # TEXT ARGUMENT...
    printf '\n# %s\n$ tlens' "$1"
    shift
    for word in "$@"; do
        case $word in
        *' '*) printf ' "%s"' "$word" ;;
        *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$tlens" "$@"
}

mkdir -p demo
printf '\n# A GPT-2 of 6 layers and 4 heads with random weights, as an ordinary Hugging Face folder: %s\n' "$model"
.build/release/make-tiny-model "$model"

step "Its configuration, and every place where an activation can be read, edited or cached, with its shape." info "$model"
step "Text to tokens. Text begins with <|endoftext|>, as in TransformerLens; --no-bos leaves it out." \
    tokenize "$model" "Hello World, the Eiffel Tower"
step "One forward pass: what comes next, the loss, and every activation in a file that Python's safetensors reads too." \
    run "$model" --prompt "Hello World" --cache all --out demo/acts.safetensors --top 5
step "Only the attention patterns, by a shorthand." run "$model" --prompt "Hello World" --cache pattern --top 1
step "Greedy generation over a key-value cache. Random weights write noise." \
    generate "$model" --prompt "Once upon a time" --temperature 0 --max-new-tokens 12
step "What each layer would say next." lens "$model" --prompt "Hello World"
step "Which of a run's residual streams carry the answer: each put into a run on another prompt, place by place." \
    patch "$model" --clean "Hello World" --corrupted "Hello the" --answer " World" --wrong " the"
step "Generation with a head silenced." \
    generate "$model" --prompt "Once upon a time" --temperature 0 --max-new-tokens 12 --edit "zero blocks.2.attn.hook_z heads=1"
step "Tokens per second." bench "$model"

stories=../shared/models/stories260K
if [ -e "$stories/config.json" ]; then
    step "A real one: a LLaMA of 260 thousand parameters, trained on children's stories." \
        generate "$stories" --prompt "Once upon a time" --temperature 0 --max-new-tokens 80
fi
printf '\nNow a model of your own: .build/release/tlens info FOLDER, with a config.json and model.safetensors in it.\n'
