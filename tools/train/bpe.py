"""Trains GPT-2's kind of vocabulary: byte-level BPE, with <|endoftext|> as the last token.

    python tools/train/bpe.py --text stories.txt.gz --size 2048 --out DIR

Writes `vocab.json` and `merges.txt`. Texts are what stands between two
<|endoftext|>; merges never cross GPT-2's word boundaries.
"""

import argparse
import gzip
import json
import pathlib

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"


def stories(path):
    """The texts of a file, plain or gzip, with <|endoftext|> between them."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8") as f:
        return [s for s in (part.strip() for part in f.read().split(END)) if s]


def train(texts, size, out):
    """Writes vocab.json and merges.txt; the end token has the highest id."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=True
    )
    tokenizer.train_from_iterator(texts, trainer)
    saved = json.loads(tokenizer.to_str())["model"]
    vocab = dict(sorted(saved["vocab"].items(), key=lambda kv: kv[1]))
    vocab[END] = len(vocab)
    merges = [m if isinstance(m, str) else " ".join(m) for m in saved["merges"]]
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (out / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    return len(vocab)


def load(folder):
    """The tokenizer of a folder, and the id of its end token."""
    tokenizer = Tokenizer(models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, tokenizer.token_to_id(END)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--text", type=pathlib.Path, required=True)
    p.add_argument("--size", type=int, default=2048)
    p.add_argument("--out", type=pathlib.Path, required=True)
    a = p.parse_args()
    print(f"{train(stories(a.text), a.size, a.out)} tokens in {a.out}")


if __name__ == "__main__":
    main()
