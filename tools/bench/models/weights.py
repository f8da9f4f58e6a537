"""The shapes of ../shapes.json and their seeded random weights, the same for every engine.

Speed does not depend on what the weights are, so nothing has to be downloaded; the text is noise.
"""

import json
from pathlib import Path

import numpy as np

SHAPES = json.loads((Path(__file__).parent.parent / "shapes.json").read_text())
SEED = 1234
GATES = {"lstm": 4, "gru": 3}


def prompt(n, vocab):
    """The same ids as `prompt` of ../protocol.mjs."""
    x, ids = 12345, []
    for _ in range(n):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
        ids.append(x % (vocab - 1))
    return ids


def gpt(shape):
    """Names as in Hugging Face's GPT-2; matrices as (inputs, outputs), embeddings as (rows, width)."""
    rng, c = np.random.default_rng(SEED), shape["width"]

    def normal(*size):
        return rng.standard_normal(size, dtype=np.float32) * np.float32(0.02)

    def norm(name):
        return {f"{name}.weight": 1 + normal(c), f"{name}.bias": normal(c)}

    def linear(name, inputs, outputs):
        return {f"{name}.weight": normal(inputs, outputs), f"{name}.bias": normal(outputs)}

    w = {"wte.weight": normal(shape["vocab"], c), "wpe.weight": normal(shape["context"], c)}
    for i in range(shape["layers"]):
        w |= norm(f"h.{i}.ln_1") | linear(f"h.{i}.attn.c_attn", c, 3 * c) | linear(f"h.{i}.attn.c_proj", c, c)
        w |= norm(f"h.{i}.ln_2") | linear(f"h.{i}.mlp.c_fc", c, 4 * c) | linear(f"h.{i}.mlp.c_proj", 4 * c, c)
    return w | norm("ln_f")


def recurrent(shape):
    """Gates in ONNX' order (lstm i, o, f, c; gru z, r, h); W, R as (gates x hidden, inputs), B both biases."""
    rng, hidden, gates = np.random.default_rng(SEED), shape["hidden"], GATES[shape["kind"]]

    def normal(*size):
        return rng.standard_normal(size, dtype=np.float32) * np.float32(0.05)

    w = {"emb": normal(shape["vocab"], shape["embedding"])}
    for i in range(shape["layers"]):
        w[f"W{i}"] = normal(gates * hidden, shape["embedding"] if i == 0 else hidden)
        w[f"R{i}"] = normal(gates * hidden, hidden)
        w[f"B{i}"] = normal(2 * gates * hidden)
    return w | {"out.w": normal(hidden, shape["vocab"]), "out.b": normal(shape["vocab"])}


def of(name):
    shape = SHAPES[name]
    return gpt(shape) if shape["kind"] == "gpt" else recurrent(shape)
