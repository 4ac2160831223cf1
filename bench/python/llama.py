"""Times llama.cpp (through llama-cpp-python's C interface) on one GGUF file. JSON on stdout.

    python llama.py FILE.gguf [--threads 2] [--work prefill-128|prefill-1024|decode]... [--seconds S] [--dump FILE]

prefill: a batch of that many tokens, logits of the last position, as llama.cpp gives them; decode: 64 tokens, one at a time,
after 16. `--dump` first writes tokens and the last position's logits of `1x16` and `1x128` for another program to compare.
"""

import argparse
import ctypes
import json
import statistics
import sys
import time

import llama_cpp
import numpy

WORKS = ["prefill-128", "prefill-1024", "decode"]
PROMPT, DECODED = 16, 64


class Session:
    """A model and a context, without a word of llama.cpp's on stderr."""

    def __init__(self, path, threads):
        self.silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = 2048, 2048, 512
        options.n_threads = options.n_threads_batch = threads
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def clear(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def run(self, tokens):
        array = (llama_cpp.llama_token * len(tokens))(*tokens)
        if llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(array, len(tokens))) != 0:
            raise RuntimeError("llama_decode failed")
        return llama_cpp.llama_get_logits_ith(self.context, -1)

    def tokens(self, count, begin=0):
        return [(7919 * (begin + index) + 13) % self.vocabulary for index in range(count)]


def timed(call, seconds):
    call()
    runs, start, cpu = [], time.perf_counter(), time.process_time()
    while len(runs) < 3 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        elapsed = call()
        runs.append(elapsed if elapsed is not None else time.perf_counter() - before)
    share = (time.process_time() - cpu) / (time.perf_counter() - start)
    return {"median_s": statistics.median(runs), "best_s": min(runs), "cpu_per_wall": round(share, 2)}


def measure(session, work, seconds):
    if work.startswith("prefill-"):
        tokens = session.tokens(int(work.removeprefix("prefill-")))

        def prefill():
            session.clear()
            session.run(tokens)
        return timed(prefill, seconds)

    def decode():
        session.clear()
        session.run(session.tokens(PROMPT))
        start = time.perf_counter()
        for token in session.tokens(DECODED):
            session.run([token])
        return (time.perf_counter() - start) / DECODED
    result = timed(decode, seconds)
    return {**result, "tokens_per_s": 1 / result["median_s"]}


def dump(session, path):
    from safetensors.numpy import save_file
    out = {}
    for name, count in (("1x16", 16), ("1x128", 128)):
        tokens = session.tokens(count)
        session.clear()
        logits = session.run(tokens)
        out[f"{name}.tokens"] = numpy.array([tokens], dtype=numpy.int64)
        out[f"{name}.last"] = numpy.ctypeslib.as_array(logits, shape=(session.vocabulary,)).copy()
    save_file(out, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", action="append", choices=WORKS)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--dump")
    parser.add_argument("--serve", action="store_true", help="answer lines `WORK SECONDS` on stdin")
    arguments = parser.parse_args()
    session = Session(arguments.file, arguments.threads)
    if arguments.dump:
        dump(session, arguments.dump)
    if arguments.serve:
        for line in sys.stdin:
            work, seconds = line.split()
            print(json.dumps(measure(session, work, float(seconds))), flush=True)
        return
    results = [{"who": "llama.cpp", "work": work, **measure(session, work, arguments.seconds)} for work in arguments.work or ([] if arguments.dump else WORKS)]
    json.dump({"versions": {"llama_cpp_python": llama_cpp.__version__}, "threads": arguments.threads, "results": results}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
