"""GPT-2's tokenizer files, and the two PyPI implementations that read them."""

import json

import numpy as np
import tiktoken
from tiktoken.load import data_gym_to_mergeable_bpe_ranks
from tokenizers import ByteLevelBPETokenizer

# GPT-2's published pre-tokenizer pattern
PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


def read_vocab(vocab, merges):
    """(tokens by id, merges)"""
    ids = json.loads(vocab.read_text(encoding="utf-8"))
    lines = merges.read_text(encoding="utf-8").split("\n")
    return sorted(ids, key=ids.get), [line for line in lines[1:] if line]


def judges(vocab, merges):
    """name -> text to ids; special tokens are plain text to both"""
    hf = ByteLevelBPETokenizer(str(vocab), str(merges))
    ranks = data_gym_to_mergeable_bpe_ranks(vocab_bpe_file=str(merges), encoder_json_file=str(vocab))
    openai = tiktoken.Encoding("gpt2", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})
    return {"tokenizers": lambda t: hf.encode(t).ids, "tiktoken": lambda t: openai.encode(t, disallowed_special=())}


def random_texts(n, seed=7):
    """Strings over all of Unicode: common letters, rare planes, spaces of every kind, digits, marks, emoji."""
    rng = np.random.default_rng(seed)
    ranges = [(32, 127), (0x9, 0xE), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x600, 0x1000), (0x1680, 0x1681),
              (0x2000, 0x2070), (0x2150, 0x2190), (0x3000, 0x3100), (0x4E00, 0x4F00), (0xAC00, 0xAD00),
              (0x1D400, 0x1D800), (0x1F300, 0x1F650), (0x20000, 0x20100), (0x85, 0x86), (0x1, 0xD800), (0xE000, 0x110000)]
    texts = []
    for _ in range(n):
        few = rng.choice(len(ranges), size=rng.integers(1, 5))
        length = rng.integers(1, 60)
        picks = [ranges[i] for i in rng.choice(np.append(few, 0), size=length)]
        texts.append("".join(chr(rng.integers(a, b)) for a, b in picks))
    return texts
