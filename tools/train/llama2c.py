"""Models and tokenizers of karpathy's llama2.c: stories260K, stories15M.

The `.bin` is version 0: seven int32 and the F32 matrices, all layers of one
matrix together. The vocabulary beside it has a score for every piece.
"""

import struct

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from gpt import attention

BOS = 1


class Llama(nn.Module):
    """Reads a whole sequence, or one token after others with a cache of keys and values."""

    def __init__(self, path):
        super().__init__()
        raw = path.read_bytes()
        self.dim, hidden, self.n_layer, self.n_head, self.n_kv, vocab, self.n_ctx = struct.unpack("7i", raw[:28])
        # A negative size says that the head is a matrix of its own.
        self.head_dim, tied, vocab = self.dim // self.n_head, vocab > 0, abs(vocab)
        flat, at = np.frombuffer(raw, np.float32, offset=28), 0
        n, d, kv = self.n_layer, self.dim, self.n_kv * self.head_dim

        def take(*shape):
            nonlocal at
            size = int(np.prod(shape))
            at += size
            return torch.from_numpy(flat[at - size : at].copy()).view(*shape)

        self.embed, self.norm1 = take(vocab, d), take(n, d)
        self.wq, self.wk, self.wv, self.wo = take(n, d, d), take(n, kv, d), take(n, kv, d), take(n, d, d)
        self.norm2 = take(n, d)
        self.w1, self.w2, self.w3 = take(n, hidden, d), take(n, d, hidden), take(n, hidden, d)
        self.norm = take(d)
        take(2, self.n_ctx, self.head_dim // 2)  # the rotations, computed below
        self.head = self.embed if tied else take(vocab, d)
        turn = torch.arange(self.n_ctx)[:, None] / 10000 ** (torch.arange(0, self.head_dim, 2) / self.head_dim)
        self.cos, self.sin = turn.cos(), turn.sin()

    def rotate(self, x, at):
        """x (batch, heads, time, head_dim), the first of them at position `at`"""
        cos, sin = self.cos[at : at + x.shape[2]], self.sin[at : at + x.shape[2]]
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

    def cache(self, batch):
        """Keys and values of all positions: (layer, 2, batch, n_kv, n_ctx, head_dim)"""
        return torch.zeros(self.n_layer, 2, batch, self.n_kv, self.n_ctx, self.head_dim, dtype=self.embed.dtype)

    def forward(self, ids, cache=None, at=0):
        """ids (batch, time) -> logits (batch, time, vocab); with a cache, time is 1"""
        x = self.embed[ids]
        for i in range(self.n_layer):
            x = x + self.attend(rms(x, self.norm1[i]), i, cache, at)
            h = rms(x, self.norm2[i])
            x = x + F.linear(F.silu(F.linear(h, self.w1[i])) * F.linear(h, self.w3[i]), self.w2[i])
        return F.linear(rms(x, self.norm), self.head)

    def attend(self, h, i, cache, at):
        b, t, _ = h.shape
        split = lambda y, heads: y.view(b, t, heads, self.head_dim).transpose(1, 2)
        q = self.rotate(split(F.linear(h, self.wq[i]), self.n_head), at)
        k = self.rotate(split(F.linear(h, self.wk[i]), self.n_kv), at)
        v = split(F.linear(h, self.wv[i]), self.n_kv)
        if cache is not None:
            cache[i, 0, :, :, at], cache[i, 1, :, :, at] = k[:, :, 0], v[:, :, 0]
            k, v = cache[i, :, :, :, : at + 1]
        share = self.n_head // self.n_kv
        if share > 1:
            k, v = k.repeat_interleave(share, 1), v.repeat_interleave(share, 1)
        y = attention(q, k, v, causal=cache is None)
        return F.linear(y.transpose(1, 2).reshape(b, t, self.dim), self.wo[i])


def rms(x, weight):
    """Scaled to a root mean square of one."""
    return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * weight


class Vocabulary:
    """llama2.c's tokenizer.bin: the merge with the best score first; bytes where no piece fits."""

    def __init__(self, path, size):
        raw, at = path.read_bytes(), 4
        self.pieces, self.scores = [], []
        for _ in range(size):
            score, n = struct.unpack_from("fi", raw, at)
            self.pieces.append(raw[at + 8 : at + 8 + n])
            self.scores.append(score)
            at += 8 + n
        self.ids = {p: i for i, p in enumerate(self.pieces)}
        self.known = {}

    def encode(self, text):
        """With BOS and the blank that SentencePiece puts in front."""
        # No merge crosses a blank, so a text is the sum of its words.
        words = (" " + text).replace("\n", "\n\0").replace(" ", "\0 ").split("\0")
        ids = [BOS]
        for word in words:
            if word not in self.known:
                self.known[word] = self.merge(word)
            ids += self.known[word]
        return ids

    def merge(self, word):
        ids = []
        for c in word:
            b = c.encode()
            ids += [self.ids[b]] if b in self.ids else [3 + x for x in b]
        while True:
            best, where = -1e10, None
            for i in range(len(ids) - 1):
                both = self.ids.get(self.pieces[ids[i]] + self.pieces[ids[i + 1]])
                if both is not None and self.scores[both] > best:
                    best, where, token = self.scores[both], i, both
            if where is None:
                return ids
            ids[where : where + 2] = [token]

    def decode(self, ids):
        """The text without the first blank."""
        out = b"".join(bytes([i - 3]) if 3 <= i < 259 else self.pieces[i] for i in ids)
        return out.decode("utf-8", errors="replace").removeprefix(" ")
