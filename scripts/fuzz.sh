#!/bin/sh
# Damaged files, many times over: every format's reader on ROUNDS mutations of a good file. The seeds are fixed, so a
# failure can be had again; the tests of `make test` run the first of the same.
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh
LENS_FUZZ_ROUNDS=${1:-20000} swift test --filter 'Mutation|Hostile|Malformed|Damage'
