"""Holds a built `pagelm` against PyTorch, PyPI `gguf` and PyPI tokenizers, and prints what was measured.

    python check.py --pagelm target/release/pagelm [--only tiny,wide] [--vocab encoder.json --merges vocab.bpe]

See README.md for what the columns mean and for the bars.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
from gguf import quants

import bpe
import ggufio
import refmodels as ref
import textmodel
from cli import Pagelm, Score
from gpt2_goldens import is_block, write_folder

# PyTorch's own float32 is within 1e-6 of its float64. The two GELUs are only 1e-4 apart: a looser bar would pass both.
BAR = 1e-5
RUNS = 32
# Rounding activations to 8 bits in blocks of 32 is the same rounding that Q8_0 does to the weights: neither is larger
# by nature, and which one is by a little depends on the model.
ROUNDING_BAR = 1.25


def from_file(spec, path, plain):
    """PyTorch on the weights in a file, as often as asked for, and their types.
    A converter may have folded the attention scale into the weights, so the file is run as a plain GPT-2."""
    _, types, weights = ggufio.read(path)
    if not spec.attn_bias:
        weights = {**weights, **{k: 0 for k in ref.state(plain) if k.endswith(("attn_qkv.bias", "attn_output.bias"))}}
    unfolded = dataclasses.replace(spec, inverse_layer_scale=False, scale_attn=True)
    return lambda: ref.with_weights(unfolded, weights), types


def check_logits(score, pagelm, spec, path, source, original):
    fmt, ids = path.stem.rsplit(".", 1)[1], ref.sequence(spec)
    model, types = from_file(spec, path, original)
    exact, plain, ours = ref.logits(model(), ids), ref.logits(original, ids), pagelm.logits(path, ids)
    same = all(np.array_equal(ours, pagelm.logits(path, ids, *o)) for o in [("--batch", 1), ("--batch", 7), ("--isa", "scalar")])
    if is_block(types):
        worst, clear, ties = check_rounded(pagelm, path, spec, ref.Int8(model(), types))
        moved, shift = ref.rms(ours, exact), ref.rms(exact, plain)
        ok = worst <= BAR and clear >= 3 and moved <= ROUNDING_BAR * shift
        cells = f"{worst:9.1e} {moved:9.1e} {shift:9.1e}  {clear} runs clear of ties, {ties} not"
    else:
        worst = ref.distance(ours, exact)
        # F32 must also be the original model itself, whatever the converter did to the weights
        ok = worst <= BAR and (fmt != "f32" or ref.distance(ours, plain) <= BAR)
        cells = f"{worst:9.1e} {'':9} {ref.rms(exact, plain):9.1e}"
    score.row(ok and same, f"{spec.name:12} {fmt:5} {source:5} {cells}", "" if same else "BITS DIFFER")


def check_rounded(pagelm, path, spec, int8):
    """Short runs against PyTorch with rounded activations: the worst of those without a tie, and how many there were."""
    worst, clear = 0.0, 0
    for seed in range(RUNS):
        ids = ref.random_ids(spec, 1 + seed % 4, seed)
        rows, is_clear = int8.logits(ids)
        if is_clear:
            clear += 1
            worst = max(worst, ref.distance(pagelm.logits(path, ids), rows))
    return worst, clear, RUNS - clear


def converter_type(spec, name, value, fmt):
    """The converter's policy: llama.cpp's, and with q4_0 the token embedding and the head are q8_0."""
    ends = name in ("token_embd.weight", "output.weight")
    wanted = ggufio.FORMATS["q8_0" if ends and fmt == "q4_0" else fmt]
    return ggufio.tensor_type(dataclasses.replace(spec, quant_pos=False), name, value, wanted)


def check_bytes(score, spec, path, fmt, weights):
    """Our converter's tensors against PyPI gguf's quantisation of the same weights, byte for byte."""
    raw, wrong = ggufio.raw(path), []
    for name, value in weights.items():
        if not spec.attn_bias and name.endswith(("attn_qkv.bias", "attn_output.bias")):
            continue
        type = converter_type(spec, name, value, fmt)
        want = quants.quantize(np.ascontiguousarray(value, np.float32), type).tobytes()
        if raw.pop(name, None) != (type, want):
            wrong.append(name)
    score.row(not wrong and not raw, f"{spec.name:12} {fmt:5} {len(weights)} tensors, bytes as PyPI gguf makes them",
              f"but {wrong + list(raw)}" if wrong or raw else "")


def check_model(score, pagelm, spec, tmp):
    model, folder = ref.build(spec), tmp / spec.name
    write_folder(folder, spec, model)
    folds = spec.inverse_layer_scale or not spec.scale_attn
    for fmt in ggufio.FORMATS:
        ours, theirs = tmp / f"{spec.name}.{fmt}.gguf", tmp / f"{spec.name}-gguf.{fmt}.gguf"
        pagelm.convert(folder, ours, fmt)
        check_logits(score, pagelm, spec, ours, "ours", model)
        if folds:
            continue  # GGUF has no key for these, so the weights are not the model's own
        check_bytes(score, spec, ours, fmt, ref.state(model))
        ggufio.write(theirs, spec, ref.state(model), fmt)
        check_logits(score, pagelm, spec, theirs, "gguf", model)


def check_text(score, pagelm, tmp, vocab, merges):
    model = ref.build(textmodel.TIED)
    textmodel.folder(tmp / "text", textmodel.TIED, model, vocab, merges)
    path = tmp / "text.f32.gguf"
    pagelm.convert(tmp / "text", path, "f32")
    judges = bpe.judges(vocab, merges)
    texts = [textmodel.PROMPT, "<|endoftext|> is only text here", *bpe.random_texts(60), "\n".join(bpe.random_texts(3000, 8))]
    for name, encode in judges.items():
        wrong = [t for t in texts if ours_ids(pagelm, path, tmp, t) != encode(t)]
        score.row(not wrong, f"{len(texts)} texts of random Unicode as {name} encodes them", ascii(wrong[:1]) if wrong else "")
    prompt_ids, ids = pagelm.generate(path, textmodel.PROMPT, 40)
    want, margins = ref.greedy(model, prompt_ids, 40)
    same = next((i for i, (a, b) in enumerate(zip(ids, want)) if a != b), len(want))
    score.row(prompt_ids == judges["tiktoken"](textmodel.PROMPT) and ids == want,
              f"40 greedy tokens as PyTorch's: {same} agree, smallest margin {min(margins):.4f}")


def ours_ids(pagelm, model, tmp, text):
    file = tmp / "text.txt"
    file.write_text(text, encoding="utf-8", newline="")
    return pagelm.tokenize(model, file)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--pagelm", type=Path, default=Path("target/release/pagelm"))
    args.add_argument("--only", help="comma-separated model names", default=",".join(ref.SPECS))
    args.add_argument("--vocab", type=Path, help="GPT-2's encoder.json or vocab.json: the text checks as well")
    args.add_argument("--merges", type=Path, help="GPT-2's vocab.bpe or merges.txt")
    a = args.parse_args()
    torch.set_num_threads(1)
    score, pagelm = Score(), Pagelm(a.pagelm.resolve())
    with tempfile.TemporaryDirectory() as tmp:
        print("      model        form  file    max err  rounding   format   (rms)")
        for name in a.only.split(","):
            check_model(score, pagelm, ref.SPECS[name], Path(tmp))
        if a.vocab and a.merges:
            check_text(score, pagelm, Path(tmp), a.vocab, a.merges)
        else:
            print("      no --vocab and --merges: text not checked")
    score.finish()


if __name__ == "__main__":
    main()
