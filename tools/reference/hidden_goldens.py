"""Writes tests/data/hidden: embeddings and attention weights of the models of tests/data, by float64 numpy.

    python hidden_goldens.py ../../tests/data

Needs `gguf` and numpy alone. NAME.bin, little-endian: u32 n_steps, n_hidden, n_weights; the mean and the last of the
hidden states that the input of the model's golden file gives (f32, n_hidden each); the weights of the last token
(n_layer, n_head, n_steps), of a GPT-2.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import ggufio
from numpy_gpt2 import Gpt2
from numpy_rnn import Net

GPT2 = ["tiny.f32", "odd90.f32", "odd45.f32"]
RNN = ["elman-lm.f32", "gru-lm.f32", "lstm-tied.f32", "gru2.f32", "elman3-both.f32", "lstm-dense.f32", "mlp.f32"]


class Watched(Gpt2):
    """Keeps what attention looked at."""

    def attend(self, qkv):
        n, n_head = len(qkv), self.key("attention.head_count")
        q, k, _ = np.split(qkv.reshape(n, 3 * n_head, -1), 3, axis=1)
        scores = np.einsum("hd,jhd->hj", q[-1], k) / np.sqrt(q.shape[-1])
        p = np.exp(scores - scores.max(-1, keepdims=True))
        self.weights = getattr(self, "weights", []) + [p / p.sum(-1, keepdims=True)]
        return super().attend(qkv)


def gpt2(path):
    words = np.fromfile(path.with_suffix(".bin"), "<u4")
    model, stages = Watched(path), {}
    model.logits(words[3 : 3 + words[0]], trace=lambda stage, x: stages.update({stage: x}))
    x = stages["output_norm"]
    return x, x[-1], np.array(model.weights)


class Bare(Net):
    """Keeps what comes to the dense layers: of all steps, then of the last."""

    def head(self, x):
        self.seen = getattr(self, "seen", []) + [x]
        return super().head(x)


def rnn(path):
    keys, _, tensors = ggufio.read(path)
    arch = keys["general.architecture"]
    key = lambda name, default=None: keys.get(f"{arch}.{name}", default)
    widths = key("hidden_lengths", [])
    dense = lambda name: [(0, act) for act in key(name + "_activations", [])]
    desc = SimpleNamespace(
        arch=arch, n_vocab="token_embd.weight" in tensors, flatten=0, reset_after=key("reset_after"),
        layers=list(zip(widths, key("bidirectional", [False] * len(widths)))),
        candidate=key("activation", key("candidate_activation", "tanh")),
        recurrent=key("recurrent_activation", "sigmoid"), input_dense=dense("input_dense"), dense=dense("dense"),
    )
    words = np.fromfile(path.with_suffix(".bin"), "<u4")
    n_steps, n_input = words[:2]
    data = words[6:][: n_steps * max(n_input, 1)]
    net = Bare(desc, tensors)
    net.run(data.view("<f4").reshape(n_steps, n_input) if n_input else data)
    return net.seen[0], net.seen[1], np.zeros(0)


def main():
    data = Path(sys.argv[1])
    out = data / "hidden"
    out.mkdir(exist_ok=True)
    for folder, names, run in ("gpt2", GPT2, gpt2), ("rnn", RNN, rnn):
        for name in names:
            x, last, weights = run(data / folder / f"{name}.gguf")
            head = np.array([len(x), x.shape[1], weights.size], "<u4")
            numbers = np.concatenate([x.mean(0), last, weights.ravel()]).astype("<f4")
            (out / f"{name}.bin").write_bytes(head.tobytes() + numbers.tobytes())
            print(f"{name:16} {len(x)} steps of {x.shape[1]} numbers, weights {weights.shape}")


if __name__ == "__main__":
    main()
