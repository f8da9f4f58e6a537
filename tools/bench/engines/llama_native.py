"""llama.cpp by llama-cpp-python, compiled for this machine: one run on one thread, printed as JSON.

    python llama_native.py JOB MODELS
"""

import ctypes
import json
import resource
import sys
import time
from pathlib import Path

import llama_cpp
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "models"))
from weights import prompt  # noqa: E402

# Kept for as long as the program runs: llama.cpp still calls it at the very end.
SILENCE = llama_cpp.llama_log_callback(lambda *_: None)


def main():
    job, models = json.loads(sys.argv[1]), sys.argv[2]
    plan, vocab = job["plan"], job["shape"]["vocab"]
    llama_cpp.llama_log_set(SILENCE, ctypes.c_void_p(0))
    begin = time.perf_counter()
    llama = llama_cpp.Llama(f"{models}/{job['model']}", n_ctx=256, n_batch=256, n_ubatch=256, n_threads=1,
                            n_threads_batch=1, verbose=False)
    load = time.perf_counter() - begin

    def read(ids):
        llama.eval(ids)
        logits = llama_cpp.llama_get_logits_ith(llama._ctx.ctx, -1)
        return int(np.ctypeslib.as_array(logits, (vocab,)).argmax())

    def prefill(ids):
        llama.reset()
        llama._ctx.kv_cache_clear()
        return read(ids)

    short, long = (prompt(plan[key], vocab) for key in ("promptTokens", "prefillTokens"))
    token = prefill(short)
    tokens = [token]
    for _ in range(plan["traceTokens"]):
        tokens.append(token := read([token]))
    decode, prefills = [], []
    for _ in range(plan["decodeRuns"]):
        token = prefill(short)
        begin = time.perf_counter()
        for _ in range(plan["decodeTokens"]):
            token = read([token])
        decode.append(plan["decodeTokens"] / (time.perf_counter() - begin))
    prefill(long)
    for _ in range(plan["prefillRuns"]):
        begin = time.perf_counter()
        prefill(long)
        prefills.append(len(long) / (time.perf_counter() - begin))
    print(json.dumps({
        "version": f"llama-cpp-python {llama_cpp.__version__}", "note": llama_cpp.llama_print_system_info().decode(),
        "tokens": tokens, "decode": decode, "prefill": prefills, "load_ms": load * 1000,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


if __name__ == "__main__":
    main()
