"""Times PyTorch's own kernels: scaled_dot_product_attention (12 heads of 64, causal) and a large matrix product, beside NumPy's (OpenBLAS).
JSON on stdout.

    python torch_kernels.py [--threads 2] [--length 4096] [--seconds 3] [--work attention|sgemm]...
"""

import argparse
import json
import statistics
import sys
import time

import torch


def timed(call, seconds):
    call()
    runs, start = [], time.perf_counter()
    while len(runs) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        call()
        runs.append(time.perf_counter() - before)
    return {"median_s": statistics.median(runs), "best_s": min(runs)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--work", action="append", choices=["attention", "sgemm"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = []
    with torch.inference_mode():
        if "attention" in (arguments.work or ["attention"]):
            q, k, v = (torch.randn(1, 12, arguments.length, 64) for _ in range(3))
            attend = torch.nn.functional.scaled_dot_product_attention
            results.append({"who": "torch", "work": f"attention-{arguments.length}", **timed(lambda: attend(q, k, v, is_causal=True), arguments.seconds)})
        if "sgemm" in (arguments.work or ["sgemm"]):
            a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
            result = timed(lambda: a @ b, arguments.seconds)
            results.append({"who": "torch", "work": "sgemm-2048", **result, "gflops": 2e-9 * 2048**3 / result["best_s"]})
            left, right = a.numpy(), b.numpy()
            result = timed(lambda: left @ right, arguments.seconds)
            results.append({"who": "numpy", "work": "sgemm-2048", **result, "gflops": 2e-9 * 2048**3 / result["best_s"]})
    json.dump({"versions": {"torch": torch.__version__}, "threads": arguments.threads, "results": results}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
