"""Trains a GRU (PyTorch's nn.GRU) or an LSTM to write children's stories.

    python tools/train/stories_gru.py --text stories-sampled.txt.gz --out DIR

As stories.py, with a vocabulary of pieces that are read by the longest match.
"""

import argparse
import collections
import pathlib

import torch

import bpe
import card
import charmodel
import curve
import gpt
import loop
import pieces
from stories import HELD

# Characters that the stories use less often than this are left out, with their story.
RARE = 20


def common(texts):
    """The stories of each list without characters that are rare in the first."""
    count = collections.Counter("".join(texts[0]))
    return [[t for t in part if all(count[c] >= RARE for c in set(t))] for part in texts]


def streams(texts, reader, a):
    """The stories but the first, which are kept back."""
    ids = lambda stories: torch.tensor([i for t in stories for i in [reader.end, *reader.encode(t)]] + [reader.end])
    held = min(len(texts) // 50, HELD)
    return charmodel.Streams(ids(texts[held:]), ids(texts[:held]), a.batch, a.span)


def optimizers(model, a):
    """Muon for the recurrent layer's matrices, AdamW for the rest."""
    matrices = [p for p in model.rnn.parameters() if p.dim() == 2]
    if not a.muon_lr:
        return [charmodel.optimizer(model, a)]
    rest = [p for p in model.parameters() if all(p is not m for m in matrices)]
    return [gpt.Muon(matrices, a.muon_lr, weight_decay=a.weight_decay),
            torch.optim.AdamW(rest, lr=a.lr, betas=(0.9, 0.99), weight_decay=0.0)]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--text", type=pathlib.Path, required=True)
    p.add_argument("--last", type=pathlib.Path)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--name", default="stories-gru")
    p.add_argument("--cell", default="gru", choices=sorted(charmodel.CELLS))
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vocab", type=int, default=512)
    p.add_argument("--embd", type=int, default=64)
    p.add_argument("--hidden", type=int, default=256)
    p.add_argument("--dropout", type=float, default=0.0)
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--span", type=int, default=64)
    p.add_argument("--lr", type=float, default=4e-3)
    p.add_argument("--muon-lr", type=float, default=0.02, help="with nought AdamW does it all")
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--warmup", type=int, default=100)
    p.add_argument("--decay", type=float, default=0.4)
    p.add_argument("--stop-at", type=int, help="stop after this step, as Ctrl-C does")
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--every", type=int, default=200)
    p.add_argument("--threads", type=int, default=2)
    card.add_arguments(p)
    return p.parse_args()


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    a.out.mkdir(parents=True, exist_ok=True)
    texts = common([bpe.stories(file) for file in (a.text, a.last) if file])
    vocabulary = pieces.train(texts[0], a.vocab)
    reader = pieces.LongestMatch(vocabulary)
    parts = [streams(part, reader, a) for part in texts]
    model = charmodel.CharModel(a.cell, len(vocabulary), a.embd, a.hidden, a.dropout)
    learn = sum(len(part.ids) for part in parts)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {learn:,} tokens to learn from", flush=True)
    data = loop.Turn(*parts, a) if a.last else parts[0]
    points = loop.train(model, optimizers(model, a), data, a, a.out / "checkpoint.pt")
    charmodel.save(model, vocabulary, a.out, a.name, bos=pieces.END, eos=pieces.END, control=[pieces.END])
    curve.draw(points, a.out / "curve.svg", f"{a.name}: {a.cell.upper()}", "bits per token")
    shape = f"{a.cell.upper()} of {a.hidden} units over an embedding of {a.embd}, {len(vocabulary)} pieces of text"
    card.finish(a, model, shape, f"{a.steps * a.batch * a.span:,} tokens read")


if __name__ == "__main__":
    main()
