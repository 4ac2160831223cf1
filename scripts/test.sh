#!/bin/sh
# Everything continuous integration runs: the tests, again under each older instruction set this machine has, the kernels'
# other builds, and a package that depends on this one. Needs no Python, and no network but for packages.
set -eu
cd "$(dirname "$0")/.."
begin=$(date +%s)
step() { printf '\n== %s (%s s)\n' "$1" "$(($(date +%s) - begin))"; }

scripts/install-packages.sh

step "build"
swift build --build-tests

step "tests"
swift test --skip-build

step "public symbols"
scripts/public-symbols.sh --check

# What the laws and goldens say must hold under every instruction set.
tiny=$(mktemp -d)
trap 'rm -rf "$tiny"' EXIT
.build/debug/make-tiny-model "$tiny"
default=$(.build/debug/tlens info "$tiny" --json | sed -n 's/.*"instruction_set": "\(.*\)".*/\1/p')
for isa in avx2 portable; do
    if [ "$isa" = "$default" ]; then
        continue
    elif LENS_ISA=$isa .build/debug/tlens info "$tiny" > /dev/null 2>&1; then
        step "laws and goldens under LENS_ISA=$isa"
        LENS_ISA=$isa swift test --skip-build --filter 'ModelTests|TensorTests'
    else
        step "skipped: this machine cannot run LENS_ISA=$isa"
    fi
done

step "kernels without OpenMP, and for aarch64"
scripts/check-kernels.sh

step "counted instructions"
scripts/count-instructions.sh

step "a dependent package, and the README"
scripts/check-dependents.sh

step "all passed"
