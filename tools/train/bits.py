"""How many bits per byte a model needs for held-out stories.

    python tools/train/bits.py --stories tinystories_1000.json \\
        --llama stories15M.bin --tokenizer tok32000.bin

Every story is read alone, from its beginning. What is counted is the text:
the bits of all tokens after BOS, over the bytes of the story in UTF-8; not the
end. A story longer than the context is read in windows of it, each of which
begins with the last half of the one before. `pagelm eval` counts alike, so the
figures of all models compare. Stories have one line break between paragraphs,
as the teacher writes them, and plain quotes.
"""

import argparse
import json
import math
import pathlib
import sys

import torch
from torch.nn import functional as F

import llama2c

# UTF-8 quotes that were once read as Windows-1252.
QUOTES = {"â€œ": '"', "â€\u009d": '"', "â€™": "'", "â€˜": "'", "â€“": "-", "â€”": "-", "â€¦": "...", "â€": '"',
          "“": '"', "”": '"', "’": "'", "‘": "'"}


def held_out(path):
    """The stories, spelled as the teacher spells."""
    texts = []
    for text in json.loads(path.read_text(encoding="utf-8")):
        for a, b in QUOTES.items():
            text = text.replace(a, b)
        lines = (" ".join(line.split()) for line in text.split("\n"))
        texts.append("\n".join(line for line in lines if line))
    return texts


@torch.no_grad()
def story_bits(model, ids, n_ctx):
    """The bits of all ids but the first."""
    total, start, counted = 0.0, 0, 1
    while counted < len(ids):
        end = min(start + n_ctx, len(ids))
        row = torch.tensor([ids[start:end]])
        nats = F.cross_entropy(model(row[:, :-1])[0].float(), row[0, 1:], reduction="none")
        total += nats[counted - start - 1 :].sum().item() / math.log(2)
        counted, start = end, end - n_ctx // 2
    return total


def bits_per_byte(model, encode, texts, n_ctx):
    """`encode` gives the ids of a text, BOS first."""
    bits = 0.0
    for i, text in enumerate(texts):
        bits += story_bits(model, encode(text), n_ctx)
        if sys.stderr.isatty():
            print(f"\r{i + 1}/{len(texts)} stories ", end="", file=sys.stderr)
    return bits / sum(len(t.encode()) for t in texts)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stories", type=pathlib.Path, required=True)
    p.add_argument("--llama", type=pathlib.Path, required=True)
    p.add_argument("--tokenizer", type=pathlib.Path, required=True)
    p.add_argument("--count", type=int, default=1000)
    a = p.parse_args()
    torch.set_num_threads(1)
    model = llama2c.Llama(a.llama)
    vocabulary = llama2c.Vocabulary(a.tokenizer, len(model.embed))
    texts = held_out(a.stories)[: a.count]
    bpb = bits_per_byte(model, vocabulary.encode, texts, model.n_ctx)
    print(f"{a.llama.name}: {bpb:.4f} bits per byte, {len(texts)} stories")


if __name__ == "__main__":
    main()
