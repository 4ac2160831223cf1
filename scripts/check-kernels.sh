#!/bin/sh
# The C kernels without OpenMP, and for aarch64: checked by the compiler, with warnings as errors. x86 headers are only
# under isa/, so everything else must be plain C.
set -eu
cd "$(dirname "$0")/../CKernels/CLensKernels"
flags="-std=gnu11 -O1 -fno-math-errno -ffp-contract=off -Wall -Wextra -Werror -Wno-psabi -fsyntax-only -Iinclude -Iinternal -Irows"
plain="$(find . -name '*.c' ! -path './isa/*') isa/portable.c"
native=$plain
[ "$(uname -m)" = x86_64 ] && native=$(find . -name '*.c')

# shellcheck disable=SC2086  # one word a flag, one word a file
for file in $native; do clang $flags "$file"; done
echo "the kernels compile without OpenMP"

# A C library for aarch64 is rarely installed. For syntax this machine's headers are near enough, but for one of glibc's
# that asks for its 32-bit half.
headers=$(mktemp -d)
trap 'rm -rf "$headers"' EXIT
mkdir "$headers/gnu"
: > "$headers/gnu/stubs-32.h"
target="--target=aarch64-linux-gnu -isystem $headers -isystem /usr/include/$(uname -m)-linux-gnu"
# shellcheck disable=SC2086
if printf '#include <math.h>\n#include <stdlib.h>\n#include <string.h>\n' | clang $target -x c -fsyntax-only - 2> /dev/null; then
    for file in $plain; do clang $target $flags "$file"; done
    echo "the kernels compile for aarch64"
else
    echo "skipped: the kernels for aarch64 (no headers of a C library)"
fi
