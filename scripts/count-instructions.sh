#!/bin/sh
# Counts the instructions of the kernels that must not regress (bench/counted/counted.c), one thread, AVX2, which is what
# valgrind sees at most, and compares them with bench/counted/counts.txt: more than 3 % above a count fails, more than 3 %
# below asks for the file to be renewed. `--write` renews it. Counts depend on the compiler: after a change of it, renew.
set -eu
cd "$(dirname "$0")/.."
counts=bench/counted/counts.txt
if ! command -v valgrind > /dev/null || ! command -v clang > /dev/null; then
    echo "skipped: counted instructions (no valgrind, or no clang)"
    exit 0
fi
if [ "$(uname -m)" != x86_64 ]; then
    echo "skipped: counted instructions (they are of x86-64)"
    exit 0
fi
compiler=$(clang --version | head -1)
if [ "${1:-}" != --write ] && ! grep -qF "# $compiler" "$counts"; then
    echo "skipped: counted instructions (counts.txt is of another compiler: scripts/count-instructions.sh --write)"
    exit 0
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
kernels=CKernels/CLensKernels
flags="-O3 -fno-math-errno -ffp-contract=off -Wno-psabi -I$kernels/include -I$kernels/internal -I$kernels/rows"
# shellcheck disable=SC2016,SC2086  # $1 is the inner shell's; one word a flag
find $kernels -name '*.c' | xargs -P "$(getconf _NPROCESSORS_ONLN)" -I {} sh -c 'clang '"$flags"' -c "$1" -o "$2/$(basename "$1" .c).o"' - {} "$scratch"
# shellcheck disable=SC2086
clang $flags bench/counted/counted.c "$scratch"/*.o -lm -lpthread -o "$scratch/counted"
LENS_ISA=avx2 valgrind -q --tool=callgrind --callgrind-out-file="$scratch/out" --collect-atstart=no --toggle-collect='count_*' \
    "$scratch/counted" > "$scratch/log" 2>&1 || { cat "$scratch/log"; exit 1; }

# Lines like `1,234 (0.1%)  ???:count_f32_1 [...]`.
callgrind_annotate --inclusive=yes --threshold=100 "$scratch/out" |
    sed -n 's/^ *\([0-9,]*\) .*:count_\([a-z0-9_]*\).*/\2 \1/p' | tr -d , | sort -u > "$scratch/found"
[ -s "$scratch/found" ] || { echo "callgrind counted nothing" >&2; exit 1; }

if [ "${1:-}" = --write ]; then
    { echo "# $compiler"; cat "$scratch/found"; } > "$counts"
    echo "wrote $counts"
    exit 0
fi
awk 'NR == FNR { if ($1 != "#") before[$1] = $2; next }
     { found[$1] = 1; was = before[$1]
       if (!was) { printf "%s: not in counts.txt\n", $1; bad = 1; next }
       change = 100 * ($2 - was) / was
       if (change > 3) { printf "%s: %d instructions, %.1f %% more than %d\n", $1, $2, change, was; bad = 1 }
       if (change < -3) printf "%s: %d instructions, %.1f %% fewer than %d: renew counts.txt\n", $1, $2, -change, was }
     END { for (name in before) if (!found[name]) { printf "%s: not counted\n", name; bad = 1 }
           exit bad }' "$counts" "$scratch/found"
echo "instructions counted: $(wc -l < "$scratch/found") kernels within 3 % of bench/counted/counts.txt"
