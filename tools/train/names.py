"""Trains an Elman network (PyTorch's nn.RNN) to invent first names.

    python tools/train/names.py --names names.txt --out DIR

`names.txt` holds one lower-case name per line (the 32,033 names of makemore).
One name in ten is held out. The stream that it learns from is a fresh shuffle
of the names with a newline after each, and the state is carried across names,
so that the model can write one name or a list. About ten minutes on one core.
"""

import argparse
import pathlib
import random

import torch

import charmodel
import curve
import loop


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--names", type=pathlib.Path, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--hidden", type=int, default=160)
    p.add_argument("--embd", type=int, default=32)
    p.add_argument("--dropout", type=float, default=0.1)
    p.add_argument("--steps", type=int, default=5000)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--span", type=int, default=48)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--warmup", type=int, default=200)
    p.add_argument("--stop-at", type=int, help="stop after this step, as Ctrl-C does")
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--every", type=int, default=500)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    rng = random.Random(a.seed)
    names = a.names.read_text().split()
    rng.shuffle(names)
    held, rest = names[: len(names) // 10], names[len(names) // 10 :]
    vocabulary = ["\n"] + sorted(set("".join(names)))
    index = {c: i for i, c in enumerate(vocabulary)}
    encode = lambda words: torch.tensor([0] + [index[c] for w in words for c in w + "\n"])
    # Several shuffles in a row: no order of names is there to be learned.
    stream = encode([w for _ in range(8) for w in rng.sample(rest, len(rest))])
    model = charmodel.CharModel("rnn", len(vocabulary), a.embd, a.hidden, a.dropout)
    print(f"{sum(x.numel() for x in model.parameters()):,} parameters, {len(rest):,} names to learn from", flush=True)
    a.out.mkdir(parents=True, exist_ok=True)
    a.decay, data = None, charmodel.Streams(stream, encode(held), a.batch, a.span)
    points = loop.train(model, [charmodel.optimizer(model, a)], data, a, a.out / "checkpoint.pt", loop.cosine)
    charmodel.save(model, vocabulary, a.out, "names", bos="\n", eos="\n")
    (a.out / "held-out.txt").write_text("".join(w + "\n" for w in held))
    curve.draw(points, a.out / "curve.svg", "names: Elman network")
    print(charmodel.sample(model, vocabulary, "\n", 400, 0.8, 1))


main()
