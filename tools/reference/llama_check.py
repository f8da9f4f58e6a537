"""Our converted files in llama.cpp (PyPI llama-cpp-python): they load, and give the same greedy tokens.

    python llama_check.py --pagelm target/release/pagelm --vocab encoder.json --merges vocab.bpe

llama.cpp keeps GELU in a half-precision table and rounds the scales of its activations to half precision, so its
logits are near ours and not ours. It is fed our greedy tokens, and at every step its own best token must be the same;
where it is not, its two best must lie closer than twice the distance between the engines' logits (a tie). Models that
were taught a text have no ties, and there none is allowed.
"""

import argparse
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np
import torch

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


def compare(score, pagelm, path, spec, label, greedy, ties_allowed):
    prompt_ids, ours = greedy
    ids = prompt_ids + ours[:-1]
    llama = open_llama(path, spec.n_ctx)
    llama.eval(ids)
    theirs = np.array(llama.scores[: len(ids)])
    noise = ref.distance(pagelm.logits(path, ids), theirs)
    steps = theirs[len(prompt_ids) - 1 :]
    lost = steps.max(1) - steps[np.arange(len(ours)), ours]  # how far our token is below its best
    ties = int((lost > 0).sum())
    margin = float(lost.max() / np.abs(theirs).max())
    ok = ties == 0 or (ties_allowed and margin < 2 * noise)
    verdict = f"{len(ours) - ties} of {len(ours)} greedy tokens the same, {len(set(ours))} different ones"
    score.row(ok, f"{label:30} logits {noise:.1e} apart", verdict + (f", margin of the ties {margin:.1e}" if ties else ""))


def check_text_model(score, pagelm, spec, model, prompt, tmp, files, ties_allowed):
    folder, vocab = tmp / spec.name, bpe.read_vocab(*files)
    textmodel.folder(folder, spec, model, *files)
    for fmt in ggufio.FORMATS:
        for source in ["ours", "PyPI gguf"]:
            path = tmp / f"{spec.name}.gguf"
            if source == "ours":
                pagelm.convert(folder, path, fmt)
            else:
                ggufio.write(path, spec, ref.state(model), fmt, vocab)
            label, greedy = f"{spec.name} {fmt} ({source})", pagelm.generate(path, prompt, N)
            same = open_llama(path, spec.n_ctx).tokenize(prompt.encode(), add_bos=False, special=False) == greedy[0]
            if not same:
                score.row(False, f"{label}: llama.cpp cuts the prompt into other tokens")
            compare(score, pagelm, path, spec, label, greedy, ties_allowed)
            path.unlink()


def check_ids_model(score, pagelm, spec, tmp):
    folder = tmp / spec.name
    write_folder(folder, spec, ref.build(spec))
    prompt_ids = ref.random_ids(spec, 8, 0)
    for fmt in ggufio.FORMATS:
        path = tmp / f"{spec.name}.gguf"
        pagelm.convert(folder, path, fmt)
        greedy = prompt_ids, pagelm.generate_ids(path, prompt_ids, N - 16)
        compare(score, pagelm, path, spec, f"{spec.name} {fmt} (ours, ids only)", greedy, ties_allowed=True)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--pagelm", type=Path, default=Path("target/release/pagelm"))
    args.add_argument("--vocab", type=Path, required=True)
    args.add_argument("--merges", type=Path, required=True)
    a = args.parse_args()
    torch.set_num_threads(1)
    files = (a.vocab, a.merges)
    encode = bpe.judges(*files)["tiktoken"]
    score, pagelm = Score(), Pagelm(a.pagelm.resolve())
    with tempfile.TemporaryDirectory() as tmp:
        for spec in textmodel.TAUGHT:
            model = textmodel.teach(spec, encode(textmodel.STORY))
            check_text_model(score, pagelm, spec, model, textmodel.STORY[:24], Path(tmp), files, ties_allowed=False)
        for spec in [textmodel.TIED, textmodel.UNTIED]:
            check_text_model(score, pagelm, spec, ref.build(spec), textmodel.PROMPT, Path(tmp), files, ties_allowed=True)
        for name in ["tiny", "wide"]:
            check_ids_model(score, pagelm, ref.SPECS[name], Path(tmp))
    score.finish()


if __name__ == "__main__":
    main()
