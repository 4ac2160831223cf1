#!/bin/sh
# What a stranger does first. Runs the README's commands as they stand there and compares what they print; builds a package
# that depends on this one (Tests/dependent), and in it the README's Swift example as it stands there; runs both on a tiny
# GPT-2 in a hub cache of its own, and checks what they print. Needs the debug build.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "check-dependents: $1" >&2; exit 1; }

# The block of commands in the README, and the same commands with what they print now.
mkdir -p demo
awk '/^```console$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md > "$work/written"
grep '^\$ ' "$work/written" | while IFS= read -r line; do
    printf '%s\n' "$line"
    eval "$(printf '%s' "${line#??}" | sed 's|^\.build/release/|.build/debug/|')" < /dev/null 2>&1 || true
done > "$work/printed"
[ -s "$work/printed" ] && diff -u "$work/written" "$work/printed" >&2 || fail "README.md does not show what its commands print"

# The first block of Swift in the README.
example=Tests/dependent/Sources/readme/main.swift
mkdir -p "$(dirname "$example")"
awk '/^```swift$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md > "$example"
grep -q 'import TransformerLens' "$example" || fail "no example in README.md"

swift build --package-path Tests/dependent --scratch-path .build-dependent > "$work/log" 2>&1 || {
    cat "$work/log" >&2
    fail "a package that depends on this one does not build"
}

repository=$work/hub/models--openai-community--gpt2
mkdir -p "$repository/refs" "$repository/snapshots"
printf 'abc123' > "$repository/refs/main"
.build/debug/make-tiny-model "$repository/snapshots/abc123"

shape=$(.build-dependent/debug/print-shape "$repository/snapshots/abc123")
[ "$shape" = '[2, 4, 3, 3]' ] || fail "print-shape: expected [2, 4, 3, 3], found $shape"

# The tiny model has 4 heads where GPT-2 has 12; the rest of the shapes is the example's own.
HF_HUB_CACHE=$work/hub .build-dependent/debug/readme > "$work/out"
for line in 'logits [1, 3, 338]' 'pattern [1, 4, 3, 3]' 'residual stream [1, 3, 56]'; do
    grep -qxF "$line" "$work/out" || { cat "$work/out" >&2; fail "the README's example does not print '$line'"; }
done
grep -q '^The Eiffel Tower is in' "$work/out" || { cat "$work/out" >&2; fail "the README's example generates nothing"; }
echo "the README's commands, a dependent package and the README's example build, run and print what they should"
