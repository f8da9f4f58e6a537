"""A small vocabulary of pieces of text, read by the longest match.

That is how recurrent models read (`"vocabulary"` in docs/CONVERT.md): at each
place of a text the longest piece that fits is the next token.
"""

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

END = "<|endoftext|>"


def train(texts, size):
    """The most useful `size - 1` pieces, single characters first, then the end token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size - 1, show_progress=False))
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda kv: kv[1])
    # Byte-level BPE writes a blank as Ġ and a new line as Ċ; the texts are ASCII otherwise.
    return [piece.replace("Ġ", " ").replace("Ċ", "\n") for piece, _ in vocab] + [END]


class LongestMatch:
    def __init__(self, vocabulary):
        self.ids = {piece: i for i, piece in enumerate(vocabulary) if piece != END}
        self.end = len(vocabulary) - 1
        self.longest = max(map(len, self.ids))

    def encode(self, text):
        ids, at = [], 0
        while at < len(text):
            for n in range(min(self.longest, len(text) - at), 0, -1):
                token = self.ids.get(text[at : at + n])
                if token is not None:
                    break
            else:
                raise ValueError(f"no piece begins with {text[at]!r}")
            ids.append(token)
            at += n
        return ids
