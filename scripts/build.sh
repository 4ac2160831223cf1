#!/bin/sh
# Installs what is missing and builds the release executables, with Swift's library inside where the toolchain has it as an
# archive: they then start in a few milliseconds.
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh

toolchain=$(dirname "$(readlink -f "$(command -v swift)")")/..
static=
[ -d "$toolchain/lib/swift_static" ] && static=--static-swift-stdlib
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "building in release (a minute or two the first time)"
for product in tlens make-tiny-model; do
    # shellcheck disable=SC2086  # empty where there is no archive
    swift build -c release $static --product "$product" > "$log" 2>&1 || { cat "$log" >&2; exit 1; }
done
echo "built .build/release/tlens"
