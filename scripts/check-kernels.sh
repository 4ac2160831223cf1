#!/bin/sh
# The C kernels without OpenMP, and for aarch64: checked by the compiler, with warnings as errors. x86 headers are only
# under isa/, so everything else must be plain C.
set -eu
cd "$(dirname "$0")/../CKernels/CLensKernels"
flags="-std=gnu11 -O1 -fno-math-errno -ffp-contract=off -Wall -Wextra -Werror -Wno-psabi -Iinclude -Iinternal -Irows"
plain="dispatch.c isa/portable.c $(ls drivers/*.c)"

# shellcheck disable=SC2086  # one word a flag, one word a file
for file in $plain isa/avx2.c isa/avx512.c; do
    case $(uname -m)-$file in
    x86_64-* | *-dispatch.c | *-drivers/* | *-isa/portable.c) clang $flags -fsyntax-only "$file" ;;
    esac
done
echo "the kernels compile without OpenMP"

# The C library's headers for aarch64 are rarely installed; this machine's are near enough to check syntax against.
target="--target=aarch64-linux-gnu"
if ! echo '#include <math.h>
#include <stdlib.h>
#include <string.h>' | clang $target -x c -fsyntax-only - 2> /dev/null; then
    target="$target -isystem /usr/include/$(uname -m)-linux-gnu"
fi
if echo '#include <math.h>
#include <stdlib.h>
#include <string.h>' | clang $target -x c -fsyntax-only - 2> /dev/null; then
    # shellcheck disable=SC2086
    for file in $plain; do clang $flags $target -fsyntax-only "$file"; done
    echo "the kernels compile for aarch64"
else
    echo "skipped: the kernels for aarch64 (no headers of a C library)"
fi
