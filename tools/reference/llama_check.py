"""Our converted files in llama.cpp (PyPI llama-cpp-python): they load, and give the same greedy tokens.

    python llama_check.py --pagelm target/release/pagelm --vocab encoder.json --merges vocab.bpe

llama.cpp keeps GELU in a half-precision table and rounds block scales of activations to half precision, so its logits
are near ours and not ours. Where the two part, the difference of the two candidates' logits decides: less than twice
the distance between the engines' logits is a tie.
"""

import argparse
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np

import bpe
import ggufio
import refmodels as ref
import textmodel
from cli import Pagelm, Score

N = 48


def open_llama(path, n_ctx):
    f32 = 0  # GGML_TYPE_F32: its cache is half precision unless told
    return llama_cpp.Llama(str(path), n_ctx=n_ctx, logits_all=True, verbose=False, n_threads=1, type_k=f32, type_v=f32)


def llama_logits(llama, ids):
    llama.reset()
    llama.eval(ids)
    return np.array(llama.scores[: len(ids)])


def llama_greedy(llama, prompt_ids, n):
    llama.reset()
    llama.eval(prompt_ids)
    out = []
    for _ in range(n):
        out.append(int(np.argmax(llama.scores[llama.n_tokens - 1])))
        llama.eval(out[-1:])
    return out


def compare(score, pagelm, path, spec, label):
    prompt_ids, ours = pagelm.generate(path, textmodel.PROMPT, N)
    llama = open_llama(path, spec.n_ctx)
    theirs = llama_greedy(llama, prompt_ids, N)
    same_prompt = llama.tokenize(textmodel.PROMPT.encode(), add_bos=False, special=False) == prompt_ids
    ids = prompt_ids + ours[:-1]
    theirs_rows, ours_rows = llama_logits(llama, ids), pagelm.logits(path, ids)
    noise = ref.distance(ours_rows, theirs_rows)
    first = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), N)
    ok, verdict = same_prompt and first == N, f"{N} of {N} greedy tokens"
    if first < N:
        row = theirs_rows[len(prompt_ids) - 1 + first]
        margin = float(row[theirs[first]] - row[ours[first]]) / float(np.abs(theirs_rows).max())
        ok = same_prompt and margin < 2 * noise
        verdict = f"parts at token {first}, margin {margin:.1e}" + (" (a tie)" if ok else "")
    score.row(ok, f"{label:26} logits {noise:.1e} apart", verdict, "" if same_prompt else "PROMPT IDS DIFFER")


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--pagelm", type=Path, default=Path("target/release/pagelm"))
    args.add_argument("--vocab", type=Path, required=True)
    args.add_argument("--merges", type=Path, required=True)
    a = args.parse_args()
    score, pagelm = Score(), Pagelm(a.pagelm.resolve())
    vocab = bpe.read_vocab(a.vocab, a.merges)
    with tempfile.TemporaryDirectory() as tmp:
        for spec in [textmodel.TIED, textmodel.UNTIED]:
            folder = Path(tmp) / spec.name
            model = textmodel.folder(folder, spec, a.vocab, a.merges)
            for fmt in ggufio.FORMATS:
                path = Path(tmp) / f"{spec.name}.{fmt}.gguf"
                pagelm.convert(folder, path, fmt)
                compare(score, pagelm, path, spec, f"{spec.name} {fmt} (our file)")
                path.unlink()
                ggufio.write(path, spec, ref.state(model), fmt, vocab)
                compare(score, pagelm, path, spec, f"{spec.name} {fmt} (PyPI gguf)")
                path.unlink()
    score.finish()


if __name__ == "__main__":
    main()
