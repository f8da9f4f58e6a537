"""Trains a GRU (PyTorch's nn.GRU) to write in the manner of a book, character by character.

    python tools/train/chars.py --text sherlock.txt --out DIR --first "In the year 1878" --last=----------

The text is read as paragraphs: line breaks inside a paragraph are spaces, so
the model's output flows on any page. Rare letters are spelled with ASCII.
The last twentieth is held out. Interrupted, it goes on where it was.
"""

import argparse
import collections
import pathlib
import re
import unicodedata

import torch

import charmodel
import curve
import loop

SPELLINGS = {"’": "'", "‘": "'", "“": '"', "”": '"', "—": "--", "–": "-", "ß": "ss", "°": " degrees", "½": " 1/2", "`": "'", "_": ""}
# Characters that the text uses less often than this are left out.
RARE = 20


def between(text, first, last):
    """The book without what its publisher put around it."""
    text = text[text.index(first) :] if first else text
    return text[: text.index(last)] if last else text


def paragraphs(text):
    """One line per paragraph, ASCII and the pound sign."""
    for a, b in SPELLINGS.items():
        text = text.replace(a, b)
    text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    blocks = (" ".join(b.split()) for b in re.split(r"\n\s*\n", text))
    text = "\n".join(b for b in blocks if b) + "\n"
    count = collections.Counter(text)
    return "".join(c for c in text if count[c] >= RARE)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--text", type=pathlib.Path, required=True, nargs="+")
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--first", default="", help="words that the book begins with")
    p.add_argument("--last", default="", help="words that follow its end")
    p.add_argument("--name", default="sherlock")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--hidden", type=int, default=352)
    p.add_argument("--embd", type=int, default=32)
    p.add_argument("--dropout", type=float, default=0.05)
    p.add_argument("--steps", type=int, default=7000)
    p.add_argument("--batch", type=int, default=48)
    p.add_argument("--span", type=int, default=96)
    p.add_argument("--lr", type=float, default=4e-3)
    p.add_argument("--weight-decay", type=float, default=0.01)
    p.add_argument("--warmup", type=int, default=200)
    p.add_argument("--stop-at", type=int, help="stop after this step, as Ctrl-C does")
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--every", type=int, default=500)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    text = "".join(paragraphs(between(t.read_text(encoding="utf-8"), a.first, a.last)) for t in a.text)
    vocabulary = sorted(set(text))
    index = {c: i for i, c in enumerate(vocabulary)}
    ids = torch.tensor([index[c] for c in text])
    cut = len(ids) * 19 // 20
    model = charmodel.CharModel("gru", len(vocabulary), a.embd, a.hidden, a.dropout)
    print(f"{sum(x.numel() for x in model.parameters()):,} parameters, {len(vocabulary)} characters, {len(ids):,} to learn from", flush=True)
    a.out.mkdir(parents=True, exist_ok=True)
    a.decay, data = None, charmodel.Streams(ids[:cut], ids[cut:], a.batch, a.span)
    points = loop.train(model, [charmodel.optimizer(model, a)], data, a, a.out / "checkpoint.pt", loop.cosine)
    charmodel.save(model, vocabulary, a.out, a.name, bos="\n")
    (a.out / "held-out.txt").write_text(text[cut:], encoding="utf-8")
    curve.draw(points, a.out / "curve.svg", f"{a.name}: GRU")
    print(charmodel.sample(model, vocabulary, "\n", 1500, 0.6, 1))


main()
