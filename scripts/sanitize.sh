#!/bin/sh
# The tests under the address sanitizer, then what runs in parallel under the thread sanitizer. Each has a build folder of
# its own; together they take about half an hour on two cores.
set -eu
cd "$(dirname "$0")/.."
scripts/install-packages.sh

echo "== address sanitizer"
# The test library keeps what it has registered until the process ends: not leaks of ours.
ASAN_OPTIONS=detect_leaks=0 swift test --sanitize=address --scratch-path .build-asan \
    --filter 'FilesTests|KernelTests|TensorTests|TextTests|ModelTests'

# OpenMP's barriers are invisible to the thread sanitizer without this tool, which comes with the OpenMP library.
archer=$(find /usr/lib -name 'libarcher.so' 2> /dev/null | head -n 1)
if [ -z "$archer" ]; then
    echo "skipped: the thread sanitizer (no libarcher.so, which Debian's libomp-dev brings)"
    exit 0
fi
echo "== thread sanitizer"
OMP_TOOL_LIBRARIES=$archer TSAN_OPTIONS="ignore_noninstrumented_modules=1 report_thread_leaks=0" \
    swift test --sanitize=thread --scratch-path .build-tsan --filter 'KernelTests|TensorTests|SharingTests|ThreadTests|tasksGenerateAtOnce'
