"""Recurrent networks in float64 numpy, from docs/FORMAT.md's words alone: the judge of the judges in rnn_goldens.py.

`Net(desc, tensors, types)` takes the tensors of a file. With types, activations in front of block-quantised products are
rounded to int8 as the kernels round them (docs/NUMERICS.md), and `margin` says how near to a tie any rounding came.
"""

import math

import numpy as np
from gguf import GGMLQuantizationType as Type

BLOCK_TYPES = (Type.Q8_0, Type.Q4_0)
ERF = np.vectorize(math.erf)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


FUNCTIONS = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1),
    "hard_sigmoid_6": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "gelu_tanh": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu_erf": lambda x: 0.5 * x * (1 + ERF(x / np.sqrt(2))),
    "softmax": softmax,
}


class Net:
    def __init__(self, desc, tensors, types=None):
        self.desc, self.tensors, self.types = desc, {k: np.asarray(v, np.float64) for k, v in tensors.items()}, types
        self.margin = 1.0

    def rounded(self, x):
        """int8 with a scale per block of 32."""
        blocks = x.reshape(-1, 32)
        scale = np.abs(blocks).max(1, keepdims=True) / 127
        whole = np.divide(blocks, scale, out=np.zeros_like(blocks), where=scale > 0)
        # The largest number of a block is exactly 127: no tie there.
        self.margin = min(self.margin, np.abs(np.abs(whole - np.floor(whole)) - 0.5).min())
        return (np.rint(whole) * scale).reshape(x.shape)

    def linear(self, name, x):
        weight = name + ".weight" if name + ".weight" in self.tensors else "token_embd.weight"
        if self.types and self.types[weight] in BLOCK_TYPES:
            x = self.rounded(x)
        return x @ self.tensors[weight].T + self.tensors.get(name + ".bias", 0.0)

    def way(self, layer, suffix, x, state):
        """One direction over all steps; x is in its order. Returns the outputs and the state."""
        d, hidden = self.desc, self.desc.layers[layer][0]
        f, s = FUNCTIONS[d.candidate], FUNCTIONS[d.recurrent]
        name = lambda part: f"blk.{layer}.rnn_{part}{suffix}"
        h, c = state[:hidden], state[hidden:]
        out = []
        for x_t in x:
            g, u = self.linear(name("ih"), x_t), self.linear(name("hh"), h)
            if d.arch == "rnn":
                h = f(g + u)
            elif d.arch == "lstm":
                i, fg, n, o = np.split(g + u, 4)
                c = s(fg) * c + s(i) * f(n)
                h = s(o) * f(c)
            else:
                r, z = np.split(s(g[: 2 * hidden] + u[: 2 * hidden]), 2)
                if d.reset_after:
                    n = f(g[2 * hidden :] + r * u[2 * hidden :])
                else:
                    n = f(g[2 * hidden :] + self.linear(name("hn"), r * h))
                h = (1 - z) * n + z * h
            out.append(h)
        return np.array(out), np.concatenate([h, c])

    def run(self, data):
        """(outputs of every step or None, outputs of the last, final state)"""
        d = self.desc
        x = self.tensors["token_embd.weight"][data] if d.n_vocab else np.asarray(data, np.float64)
        for i, (_, act) in enumerate(d.input_dense):
            x = FUNCTIONS[act](self.linear(f"input_dense.{i}", x))
        states, last = [], x[-1]
        for i, (hidden, both) in enumerate(d.layers):
            zeros = np.zeros(hidden * (2 if d.arch == "lstm" else 1))
            outs = []
            for suffix in ["", "_rev"][: 1 + both]:
                order = slice(None, None, -1) if suffix else slice(None)
                start = self.tensors.get(f"blk.{i}.rnn_init{suffix}", zeros)
                out, state = self.way(i, suffix, x[order], start)
                outs.append(out[order])
                states.append(state)
            x = np.concatenate(outs, -1)
            last = np.concatenate([states[-2 if both else -1][:hidden], states[-1][:hidden]][: 1 + both])
        every = self.head(x.reshape(1, -1))[0] if d.flatten else self.head(x)
        state = np.concatenate(states) if states else np.zeros(0)
        return (None, every, state) if d.flatten else (every, self.head(last), state)

    def head(self, x):
        for i, (_, act) in enumerate(self.desc.dense):
            x = FUNCTIONS[act](self.linear(f"dense.{i}", x))
        return x
