#!/usr/bin/env python3
"""What llama.cpp makes of texts full of special tokens, for tests/data/tokenizer/special.txt.

    special_vectors.py --tokenizer DIR [--count N --seed S --out FILE]

DIR holds GPT-2's encoder.json and vocab.bpe. The vocabulary is GPT-2's and the
tokens of EXTRA behind it, which tests/tokenizer.rs repeats. A line of the
output is a text's UTF-8 in hexadecimal, 1 if special tokens were to be parsed
else 0, and the ids with commas between.
"""

import argparse
import random
import tempfile
from pathlib import Path

import llama_cpp
from bpe import read_vocab
from gguf import GGUFWriter
from tokenizer_vectors import WORDS, letters, spaces

OUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "tokenizer" / "special.txt"
NORMAL, UNKNOWN, CONTROL, USER, UNUSED = 1, 2, 3, 4, 5
EXTRA = [("  ", USER), ("    ", USER), ("<|a|>", CONTROL), ("<|a", USER), ("<tool>", USER), ("<unk>", UNKNOWN),
         ("[PAD1]", UNUSED), ("é b", USER), ("\n\n", USER), ("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL)]
PARTS = [text for text, _ in EXTRA] + ["<|endoftext|>", " ", "   ", "<|", "|>", "\n", " \n", "é", "b"]


def write_vocabulary(path, tokens, merges):
    tokens = tokens + [text for text, _ in EXTRA]
    types = [NORMAL] * (len(tokens) - len(EXTRA) - 1) + [CONTROL] + [kind for _, kind in EXTRA]
    w = GGUFWriter(path, "gpt2")
    w.add_context_length(1024)
    w.add_embedding_length(768)
    w.add_block_count(12)
    w.add_feed_forward_length(3072)
    w.add_head_count(12)
    w.add_layer_norm_eps(1e-5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def random_text(rng):
    def part():
        if rng.random() < 0.6:
            return rng.choice(PARTS)
        return rng.choice([lambda: rng.choice(WORDS), lambda: letters(rng), lambda: spaces(rng)])()

    return "".join(part() for _ in range(rng.randrange(1, 10)))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--tokenizer", type=Path, required=True)
    args.add_argument("--count", type=int, default=200)
    args.add_argument("--seed", type=int, default=0)
    args.add_argument("--out", type=Path, default=OUT)
    args = args.parse_args()

    tokens, merges = read_vocab(args.tokenizer / "encoder.json", args.tokenizer / "vocab.bpe")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        write_vocabulary(path, tokens, merges)
        llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
        rng = random.Random(args.seed)
        lines = []
        for _ in range(args.count):
            text, special = random_text(rng).encode(), rng.random() < 0.5
            ids = llama.tokenize(text, add_bos=False, special=special)
            lines.append(f"{text.hex()} {int(special)} {','.join(map(str, ids))}\n")
    args.out.write_text("".join(lines))
    print(f"wrote {args.count} cases to {args.out}")


if __name__ == "__main__":
    main()
