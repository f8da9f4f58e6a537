#!/usr/bin/env python3
"""What gpt2-basic's own tokenizer makes of texts, for tests/data/tokenizer/lexicon.txt.

    lexicon_vectors.py --upstream DIR --vocab VOCAB.BIN

DIR is the `scripts` folder of GitHub tsotchke/gpt2-basic (MIT), for its
gpt2_basic_tokenizer.py; VOCAB.BIN is the lexicon model's. A line of the output
is a text, a tab, the ids with commas between. The texts are made of the
lexicon's own pieces, whole and cut, so that most of them end inside a word.
"""

import argparse
import random
import sys
from pathlib import Path

OUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "tokenizer" / "lexicon.txt"
GIVEN = ["What makes this real inference?", "GPT2 BASIC on a 486", "DOS language models need"]


def random_text(rng, pieces):
    parts = []
    for _ in range(rng.randrange(1, 9)):
        piece = rng.choice(pieces)
        parts.append(piece[: rng.randrange(1, len(piece) + 1)] if rng.random() < 0.4 else piece)
        if rng.random() < 0.2:
            parts.append(rng.choice(["s", "-", ".", "?", ", ", "/x", "_", "'s", "(", " zq", "7"]))
    return "".join(parts)


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--upstream", type=Path, required=True)
    args.add_argument("--vocab", type=Path, required=True)
    args.add_argument("--count", type=int, default=150)
    args.add_argument("--out", type=Path, default=OUT)
    args = args.parse_args()
    sys.path.insert(0, str(args.upstream))
    from gpt2_basic_tokenizer import GPT2BasicTokenizer, clean_ascii

    tokenizer = GPT2BasicTokenizer.read_vocab_bin(args.vocab)
    pieces = [piece.decode("ascii") for piece in tokenizer.id_to_piece[258:]]
    rng = random.Random(0)
    texts = GIVEN + [random_text(rng, pieces) for _ in range(args.count)]
    # Upstream tidies white space before it encodes; only what it leaves alone is compared.
    texts = [clean_ascii(text) for text in texts]
    lines = [f"{text}\t{','.join(map(str, tokenizer.encode(text)))}\n" for text in texts if text]
    args.out.write_text("".join(lines))
    print(f"wrote {len(lines)} cases to {args.out}")


if __name__ == "__main__":
    main()
