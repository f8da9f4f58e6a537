"""Recurrent models in float64 numpy, written from their makers' own formulas.

Nothing here reads our file format: weights come from the original checkpoints,
so that the converter is judged together with the engine.
"""

import json
import pathlib

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


class CharRnn:
    """ml5's charRNN: TensorFlow 1's BasicLSTMCell, gates i, j, f, o on [x, h]."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        load = lambda name: np.fromfile(folder / manifest[name]["filename"], "<f4").reshape(manifest[name]["shape"]).astype("f8")
        self.embedding = load("embedding")
        self.head, self.head_bias = load("rnnlm/softmax_w"), load("rnnlm/softmax_b")
        self.cells = []
        while True:
            cell = f"rnnlm/multi_rnn_cell/cell_{len(self.cells)}/basic_lstm_cell/"
            kernel = [n for n in (cell + "weights", cell + "kernel") if n in manifest]
            if not kernel:
                break
            bias = cell + ("biases" if kernel[0].endswith("weights") else "bias")
            self.cells.append((load(kernel[0]), load(bias)))
        vocab = json.loads((folder / "vocab.json").read_text())
        self.vocab = {i: c for c, i in vocab.items()}

    def logits(self, ids):
        """ids (n) -> logits (n, n_vocab), from the zero state"""
        state = [(np.zeros(len(b) // 4),) * 2 for _, b in self.cells]
        out = []
        for token in ids:
            x = self.embedding[token]
            for l, (kernel, bias) in enumerate(self.cells):
                c, h = state[l]
                i, j, f, o = np.split(np.concatenate([x, h]) @ kernel + bias, 4)
                c = c * sigmoid(f + 1.0) + sigmoid(i) * np.tanh(j)
                h = np.tanh(c) * sigmoid(o)
                state[l], x = (c, h), h
            out.append(x @ self.head + self.head_bias)
        return np.array(out)


class Torch:
    """embedding -> one layer of nn.RNN or nn.GRU -> dense, as tools/train saves it."""

    def __init__(self, folder):
        from safetensors.numpy import load_file

        self.w = {k: v.astype("f8") for k, v in load_file(pathlib.Path(folder) / "model.safetensors").items()}
        self.cell = json.loads((pathlib.Path(folder) / "pagelm.json").read_text())["layers"][1]["type"]

    def logits(self, ids):
        w, out = self.w, []
        h = np.zeros(w["rnn.weight_hh_l0"].shape[1])
        for token in ids:
            a = w["rnn.weight_ih_l0"] @ w["embed.weight"][token] + w["rnn.bias_ih_l0"]
            b = w["rnn.weight_hh_l0"] @ h + w["rnn.bias_hh_l0"]
            if self.cell == "rnn":
                h = np.tanh(a + b)
            else:
                (ar, az, an), (br, bz, bn) = np.split(a, 3), np.split(b, 3)
                r, z = sigmoid(ar + br), sigmoid(az + bz)
                h = (1 - z) * np.tanh(an + r * bn) + z * h
            out.append(w["head.weight"] @ h + w["head.bias"])
        return np.array(out)
