#!/bin/sh
# The public symbols of the library's modules, as docs/public-symbols.txt lists them. `public-symbols.sh --check` fails where that
# list is not up to date, and prints what changed; without it the list is written. Needs a debug build. Compilers spell
# declarations differently, so the list names the one that made it, and others do not check.
set -eu
cd "$(dirname "$0")/.."
check=${1:-} build=.build/debug list=docs/public-symbols.txt
graphs=$(mktemp -d)
trap 'rm -rf "$graphs"' EXIT
set --
for module in CLensKernels CLensHTTP CShippedFiles; do
    set -- "$@" -Xcc "-fmodule-map-file=$build/$module.build/module.modulemap"
done
compiler="# as Swift $(swift --version 2> /dev/null | sed -n 's/.*Swift version \([0-9.]*\).*/\1/p') prints them"
if [ "$check" = --check ] && [ "$compiler" != "$(head -n 1 "$list")" ]; then
    echo "skipped: the list is $(head -n 1 "$list")"
    exit 0
fi
target=$(swift -print-target-info | sed -n 's/.*"unversionedTriple": "\(.*\)".*/\1/p')
for module in LensFiles LensTensor LensHooks LensModel LensZoo LensText LensHub LensAnalysis TransformerLens; do
    swift symbolgraph-extract -module-name "$module" -target "$target" -I "$build/Modules" "$@" -minimum-access-level public \
        -skip-synthesized-members -skip-inherited-docs -output-dir "$graphs"
done
{ echo "$compiler"; "$build/list-public-symbols" "$graphs"/*.json; } > "$graphs/list"
if [ "$check" = --check ]; then
    diff -u "$list" "$graphs/list" || { echo "the public symbols changed: run scripts/public-symbols.sh, and look at what it changes in $list"; exit 1; }
else
    mv "$graphs/list" "$list"
fi
