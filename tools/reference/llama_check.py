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
from gpt2_goldens import write_folder

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


def same_text(pagelm, path, n_ctx):
    """Our greedy tokens for a text; None where llama.cpp cuts the text into other tokens."""
    prompt_ids, ids = pagelm.generate(path, textmodel.PROMPT, N)
    llama = open_llama(path, n_ctx)
    theirs = llama.tokenize(textmodel.PROMPT.encode(), add_bos=False, special=False)
    return (prompt_ids, ids) if prompt_ids == theirs else None


def compare(score, pagelm, path, n_ctx, label, prompt_ids, ours):
    llama = open_llama(path, n_ctx)
    theirs, n = llama_greedy(llama, prompt_ids, len(ours)), len(ours)
    ids = prompt_ids + ours[:-1]
    theirs_rows, ours_rows = llama_logits(llama, ids), pagelm.logits(path, ids)
    noise = ref.distance(ours_rows, theirs_rows)
    first = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), n)
    ok, verdict = first == n, f"{n} of {n} greedy tokens, {len(set(ours))} different ones"
    if first < n:
        row = theirs_rows[len(prompt_ids) - 1 + first]
        margin = float(row[theirs[first]] - row[ours[first]]) / float(np.abs(theirs_rows).max())
        ok = margin < 2 * noise
        verdict = f"parts at token {first}, margin {margin:.1e}" + (" (a tie)" if ok else "")
    score.row(ok, f"{label:28} logits {noise:.1e} apart", verdict)


def check_text_model(score, pagelm, spec, tmp, files):
    folder, vocab = tmp / spec.name, bpe.read_vocab(*files)
    model = textmodel.folder(folder, spec, *files)
    for fmt in ggufio.FORMATS:
        for source in ["ours", "PyPI gguf"]:
            path = tmp / f"{spec.name}.gguf"
            if source == "ours":
                pagelm.convert(folder, path, fmt)
            else:
                ggufio.write(path, spec, ref.state(model), fmt, vocab)
            label, both = f"{spec.name} {fmt} ({source})", same_text(pagelm, path, spec.n_ctx)
            if both is None:
                score.row(False, f"{label}: llama.cpp cuts the prompt into other tokens")
            else:
                compare(score, pagelm, path, spec.n_ctx, label, *both)
            path.unlink()


def check_ids_model(score, pagelm, spec, tmp):
    folder = tmp / spec.name
    write_folder(folder, spec, ref.build(spec))
    prompt_ids = ref.random_ids(spec, 8, 0)
    for fmt in ggufio.FORMATS:
        path = tmp / f"{spec.name}.gguf"
        pagelm.convert(folder, path, fmt)
        ours = pagelm.generate_ids(path, prompt_ids, N)
        compare(score, pagelm, path, spec.n_ctx, f"{spec.name} {fmt} (ours, ids only)", prompt_ids, ours)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--pagelm", type=Path, default=Path("target/release/pagelm"))
    args.add_argument("--vocab", type=Path, required=True)
    args.add_argument("--merges", type=Path, required=True)
    a = args.parse_args()
    score, pagelm = Score(), Pagelm(a.pagelm.resolve())
    with tempfile.TemporaryDirectory() as tmp:
        for spec in [textmodel.TIED, textmodel.UNTIED]:
            check_text_model(score, pagelm, spec, Path(tmp), (a.vocab, a.merges))
        for name in ["tiny", "wide"]:
            check_ids_model(score, pagelm, ref.SPECS[name], Path(tmp))
    score.finish()


if __name__ == "__main__":
    main()
