"""GPT-2 once more, from a GGUF file, in float64 numpy: shares nothing with PyTorch and nothing with pagelm.

As a program: prints the logits of a file, or with --trace the norm of every stage, to find where two runs part.
    python numpy_gpt2.py MODEL.gguf 1,2,3 [--int8] [--trace]
"""

import argparse
import json
from math import erf, pi, sqrt

import numpy as np
from gguf import GGMLQuantizationType as Type

import ggufio

ERF = np.vectorize(erf, otypes=[np.float64])


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {
    "gelu_new": gelu_tanh, "gelu_fast": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh,
    "gelu": lambda x: 0.5 * x * (1 + ERF(x / sqrt(2))),
    "relu": lambda x: np.maximum(x, 0),
}


def norm(x, gain, bias, eps):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * gain + bias


def int8(x):
    blocks = x.astype(np.float32).reshape(*x.shape[:-1], -1, 32)
    amax = np.abs(blocks).max(-1, keepdims=True)
    inverse = np.divide(np.float32(127), amax, out=np.zeros_like(amax), where=amax > 0)
    return (np.rint(blocks * inverse) * (amax / np.float32(127)).astype(np.float64)).reshape(x.shape)


class Gpt2:
    def __init__(self, path):
        self.keys, self.types, weights = ggufio.read(path)
        self.w = {k: v.astype(np.float64) for k, v in weights.items()}

    def key(self, name):
        return self.keys["gpt2." + name]

    def product(self, x, name, round_int8):
        if round_int8 and self.types[name + ".weight"] in (Type.Q8_0, Type.Q4_0):
            x = int8(x)
        return x @ self.w[name + ".weight"].T + self.w.get(name + ".bias", 0)

    def norm(self, x, name):
        return norm(x, self.w[name + ".weight"], self.w.get(name + ".bias", 0), self.key("attention.layer_norm_epsilon"))

    def attend(self, qkv):
        n, n_head = len(qkv), self.key("attention.head_count")
        q, k, v = np.split(qkv.reshape(n, 3 * n_head, -1), 3, axis=1)  # (n, n_head, head_dim) each
        scores = np.einsum("ihd,jhd->hij", q, k) / sqrt(q.shape[-1])
        scores[:, ~np.tri(n, dtype=bool)] = -np.inf
        p = np.exp(scores - scores.max(-1, keepdims=True))
        return np.einsum("hij,jhd->ihd", p / p.sum(-1, keepdims=True), v).reshape(n, -1)

    def logits(self, ids, round_int8=False, trace=lambda stage, x: None):
        """(n_pos, n_vocab)"""
        act = ACTIVATIONS[self.keys.get("gpt2.activation_function", "gelu_new")]
        x = self.w["token_embd.weight"][ids] + self.w["position_embd.weight"][: len(ids)]
        trace("embedding", x)
        for layer in range(self.key("block_count")):
            blk = f"blk.{layer}."
            a = self.attend(self.product(self.norm(x, blk + "attn_norm"), blk + "attn_qkv", round_int8))
            trace(blk + "attention", a)
            x = x + self.product(a, blk + "attn_output", round_int8)
            h = act(self.product(self.norm(x, blk + "ffn_norm"), blk + "ffn_up", round_int8))
            trace(blk + "hidden", h)
            x = x + self.product(h, blk + "ffn_down", round_int8)
            trace(blk + "out", x)
        x = self.norm(x, "output_norm")
        trace("output_norm", x)
        head = "output" if "output.weight" in self.w else "token_embd"
        return self.product(x, head, round_int8)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("model")
    args.add_argument("ids", help="1,2,3")
    args.add_argument("--int8", action="store_true", help="round activations as the quantised kernels do")
    args.add_argument("--trace", action="store_true")
    a = args.parse_args()
    show = lambda stage, x: print(f"{stage:20} |x| {np.linalg.norm(x):12.6f}  last {x[-1, :4]}")
    rows = Gpt2(a.model).logits([int(i) for i in a.ids.split(",")], a.int8, show if a.trace else lambda *_: None)
    print(json.dumps([[round(float(v), 6) for v in row] for row in rows]))


if __name__ == "__main__":
    main()
