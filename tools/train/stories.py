"""Trains a GPT-2 to write children's stories.

    python tools/train/stories.py --text stories-sampled.txt.gz --out DIR

makes the vocabulary, trains, and leaves in DIR what `pagelm convert` takes and
the loss curve. With `--pagelm` and `--held-out` it also converts, measures,
lets the engine write ten stories and puts it all into a model card. Ctrl-C
saves; the same command goes on. `--last` is a text that is read in the place of
the first while the rate falls; the vocabulary is the first's.
"""

import argparse
import math
import pathlib

import numpy as np
import torch
from torch.nn import functional as F

import bpe
import card
import curve
import gpt
import loop

# So many stories are kept back for the loss curve, but no more than a fiftieth.
HELD = 40


class Rows:
    """Batches of rows that begin where a story begins, in a new order each pass.

    A row is <|endoftext|>, a story, <|endoftext|>, the next one and so on, cut
    at n_ctx + 1 tokens; the next row begins with the next whole story. Every
    eighth row begins somewhere within its first story, as the rows do in which
    a text longer than the context is read.
    """

    def __init__(self, texts, held, n_ctx, batch, seed, bf16, mean=None):
        self.texts, self.held, self.n_ctx, self.batch, self.seed, self.bf16 = texts, held, n_ctx, batch, seed, bf16
        self.epoch, self.at, self.rows = -1, 0, []
        # mean() or its compiled form.
        self.mean = mean or globals()["mean"]

    def shuffle(self, epoch):
        random = np.random.default_rng([self.seed, epoch])
        order, within = random.permutation(len(self.texts)), random.random(len(self.texts))
        self.rows, row = [], []
        for i in order:
            text = self.texts[i]
            if not row and len(self.rows) % 8 == 7:
                text = text[int(within[i] * len(text)) :]
            row += text
            if len(row) > self.n_ctx:
                self.rows.append(row[: self.n_ctx + 1])
                row = []
        self.epoch, self.at = epoch, 0

    def next(self):
        """(batch, n_ctx + 1)"""
        if self.at + self.batch > len(self.rows):
            self.shuffle(self.epoch + 1)
        rows = self.rows[self.at : self.at + self.batch]
        self.at += self.batch
        return torch.tensor(rows)

    def loss(self, model):
        return self.mean(model, self.next(), self.bf16)

    @torch.no_grad()
    def held_out(self, model):
        """Mean bits per token of the stories kept back, each alone in a row."""
        model.eval()
        total = count = 0
        for at in range(0, len(self.held), self.batch):
            texts = [t[: self.n_ctx + 1] for t in self.held[at : at + self.batch]]
            ids, real = padded(texts)
            total += (nats(model, ids, self.bf16) * real[:, 1:]).sum().item()
            count += real[:, 1:].sum().item()
        model.train()
        return total / count / math.log(2)

    def state_dict(self):
        return {"epoch": self.epoch, "at": self.at}

    def load_state_dict(self, state):
        if state["epoch"] >= 0:
            self.shuffle(state["epoch"])
        self.at = state["at"]


def nats(model, ids, bf16):
    """The cost of each token after the first: (batch, time - 1)"""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = model(ids[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten(), reduction="none").view(len(ids), -1)


def mean(model, ids, bf16):
    return nats(model, ids, bf16).mean()


def padded(texts):
    """Rows of different lengths as one tensor, and where it is real."""
    n = max(map(len, texts))
    ids = torch.tensor([t + [0] * (n - len(t)) for t in texts])
    return ids, torch.tensor([[1.0] * len(t) + [0.0] * (n - len(t)) for t in texts])


def optimizers(model, a):
    """Muon for the matrices of the blocks, AdamW for embeddings, biases and norms."""
    matrices = [p for p in model.h.parameters() if p.dim() == 2]
    tables = [model.wte.weight, model.wpe.weight]
    rest = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": tables, "lr": a.lr}, {"params": rest, "lr": a.lr}]
    return [gpt.Muon(matrices, a.muon_lr, weight_decay=a.weight_decay),
            torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.95), weight_decay=0.0)]


def rows(texts, tokenizer, end, fast, a):
    """The stories but the first, which are kept back."""
    ids = [[end] + e.ids + [end] for e in tokenizer.encode_batch(texts)]
    held = min(len(ids) // 50, HELD)
    # One end token stands between two stories; the last one closes a held-out story.
    return Rows([t[:-1] for t in ids[held:]], ids[:held], a.ctx, a.batch, a.seed, not a.f32, fast)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--text", type=pathlib.Path, required=True)
    p.add_argument("--last", type=pathlib.Path)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--name", default="stories")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vocab", type=int, default=2048)
    p.add_argument("--ctx", type=int, default=256)
    p.add_argument("--embd", type=int, default=128)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--batch", type=int, default=12)
    p.add_argument("--lr", type=float, default=4e-3)
    p.add_argument("--muon-lr", type=float, default=0.02)
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--warmup", type=int, default=100)
    p.add_argument("--decay", type=float, default=0.3)
    p.add_argument("--stop-at", type=int, help="stop after this step, as Ctrl-C does")
    p.add_argument("--clip", type=float, default=1.0)
    p.add_argument("--every", type=int, default=100)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--f32", action="store_true", help="compute in F32, not in bfloat16: faster without AVX-512")
    p.add_argument("--compile", action="store_true", help="torch.compile: a fifth faster, minutes to begin")
    card.add_arguments(p)
    return p.parse_args()


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    a.out.mkdir(parents=True, exist_ok=True)
    texts = [bpe.stories(file) for file in (a.text, a.last) if file]
    if not (a.out / "vocab.json").exists():
        bpe.train(texts[0], a.vocab, a.out)
    tokenizer, end = bpe.load(a.out)
    fast = torch.compile(mean) if a.compile else mean
    parts = [rows(part, tokenizer, end, fast, a) for part in texts]
    model = gpt.Gpt(a.vocab, a.ctx, a.embd, a.layers, a.heads)
    learn = sum(len(text) for part in parts for text in part.texts)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {learn:,} tokens to learn from", flush=True)
    opts = optimizers(model, a)
    data = loop.Turn(*parts, a) if a.last else parts[0]
    points = loop.train(model, opts, data, a, a.out / "checkpoint.pt")
    gpt.save(model, a.out, a.name, end)
    curve.draw(points, a.out / "curve.svg", f"{a.name}: GPT-2", "bits per token")
    shape = f"GPT-2: {a.layers} layers, {a.heads} heads, width {a.embd}, context {a.ctx}, vocabulary {a.vocab}, tied head"
    card.finish(a, model, shape, f"{a.steps * a.batch * a.ctx:,} tokens read")


if __name__ == "__main__":
    main()
