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

# A C library for aarch64 is rarely installed. For syntax this machine's headers are near enough, but for two of glibc's
# that only x86-64 takes as they are.
headers=$(mktemp -d)
trap 'rm -rf "$headers"' EXIT
mkdir "$headers/gnu" "$headers/bits"
: > "$headers/gnu/stubs-32.h"
printf '#include_next <bits/pthreadtypes-arch.h>\n#undef __cleanup_fct_attribute\n#define __cleanup_fct_attribute\n' \
    > "$headers/bits/pthreadtypes-arch.h"
target="--target=aarch64-linux-gnu -isystem $headers -isystem /usr/include/$(uname -m)-linux-gnu"
# shellcheck disable=SC2086
if printf '#include <math.h>\n#include <pthread.h>\n#include <stdlib.h>\n#include <string.h>\n' | clang $target -x c -fsyntax-only - 2> /dev/null; then
    for file in $plain; do clang $target $flags "$file"; done
    echo "the kernels compile for aarch64"
else
    echo "skipped: the kernels for aarch64 (no headers of a C library)"
fi
