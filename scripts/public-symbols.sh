#!/bin/sh
# The public symbols of the library's modules, as docs/public-symbols.txt lists them. `public-symbols.sh --check` fails where that
# list is not up to date, and prints what changed; without it the list is written. Needs a debug build.
set -eu
cd "$(dirname "$0")/.."
check=${1:-} build=.build/debug list=docs/public-symbols.txt
graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
set --
for module in CLensKernels CLensHTTP CShippedFiles; do
    set -- "$@" -Xcc "-fmodule-map-file=$build/$module.build/module.modulemap"
done
target=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')
for module in LensFiles LensTensor LensHooks LensModel LensZoo LensText LensHub LensAnalysis TransformerLens; do
    swift symbolgraph-extract -module-name "$module" -target "$target" -I "$build/Modules" "$@" -minimum-access-level public \
        -skip-synthesized-members -skip-inherited-docs -output-dir "$graphs"
done
LC_ALL=C "$build/list-public-symbols" "$graphs"/*.json > "$graphs/list"
if [ "$check" = --check ]; then
    diff -u "$list" "$graphs/list" || { echo "the public symbols changed: run scripts/public-symbols.sh, and look at what it changes in $list"; exit 1; }
else
    mv "$graphs/list" "$list"
fi
