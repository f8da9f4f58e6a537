"""Writes tests/data/rnn: small GGUF files of random recurrent networks, and what PyTorch and Keras give for them.

    python rnn_goldens.py ../../tests/data/rnn

Needs TensorFlow besides requirements.txt: see requirements-rnn.txt. Every case is run by each framework that can express
it, in float64, and by numpy_rnn.py; they must agree to 1e-8.

NAME.FORMAT.gguf  the model
NAME.FORMAT.bin   little-endian: u32 n_steps, n_input (0: ids), n_every, n_last, n_state, n_tables; the input, f32 or u32;
                  n_tables of f32: outputs of every step (n_every numbers), outputs for the last (n_last), state (n_state)
                  0  on the weights as they are in the file (dequantised)
                  1  (block formats) the same with activations rounded to int8 in front of block-quantised products
                  2  (block formats) on the float32 weights, before quantisation
                The inputs of a block format's run are chosen so that no rounding is near a tie.
"""

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

import rnn_keras
import rnn_torch
from numpy_rnn import BLOCK_TYPES, Net

FORMATS = {"f32": Type.F32, "f16": Type.F16, "q8_0": Type.Q8_0, "q4_0": Type.Q4_0}
GATES = {"rnn": 1, "gru": 3, "lstm": 4}
ORDER = {"gru": "rzn", "lstm": "ifgo"}
# how near a rounding may come to a tie, in units of the last place: float32 sums differ by less
MARGIN = 4e-4


@dataclass(frozen=True)
class Case:
    name: str
    arch: str
    layers: list  # (width, bidirectional)
    n_input: int = 0
    n_vocab: int = 0  # token input of width n_input
    input_dense: list = field(default_factory=list)  # (width, activation)
    dense: list = field(default_factory=list)
    candidate: str = "tanh"
    recurrent: str = "sigmoid"
    reset_after: bool = True
    bias: str = "both"  # both, ih, none
    init: bool = False
    flatten: int = 0
    tied: bool = False
    n_steps: int = 9
    formats: tuple = ("f32",)
    seed: int = 1


U, B = False, True
ALL = ("f32", "f16", "q8_0", "q4_0")
CASES = [
    # widths that fill no group of rows, one to three layers
    Case("elman1", "rnn", [(7, U)], 5, dense=[(3, "none")]),
    Case("elman2-relu", "rnn", [(12, U), (9, U)], 4, candidate="relu", dense=[(6, "relu"), (2, "sigmoid")], bias="ih"),
    Case("elman3-both", "rnn", [(6, B), (5, U), (7, B)], 3, dense=[(4, "softmax")], init=True),
    Case("elman-lm", "rnn", [(10, U)], 6, n_vocab=19, dense=[(19, "softmax")]),
    Case("gru1", "gru", [(9, U)], 4),
    Case("gru2", "gru", [(11, U), (8, U)], 3, dense=[(5, "tanh")], init=True),
    Case("gru3-both", "gru", [(6, B), (7, B), (5, B)], 4, dense=[(3, "none")]),
    Case("gru-before", "gru", [(9, U), (10, U)], 4, reset_after=False, dense=[(3, "gelu_erf")], bias="ih"),
    Case("gru-before-both", "gru", [(6, B), (5, B)], 3, reset_after=False, candidate="relu", recurrent="hard_sigmoid"),
    Case("gru-hard", "gru", [(8, U), (6, U)], 4, recurrent="hard_sigmoid_6", dense=[(4, "hard_sigmoid_6")]),
    Case("gru-relu", "gru", [(8, U)], 4, candidate="relu", bias="none", dense=[(2, "gelu_tanh")]),
    Case("gru-lm", "gru", [(14, U), (13, U)], 9, n_vocab=23, dense=[(23, "none")], n_steps=24),
    Case("lstm1", "lstm", [(9, U)], 4),
    Case("lstm2", "lstm", [(10, U), (7, U)], 5, dense=[(8, "relu"), (6, "tanh"), (3, "softmax")], init=True),
    Case("lstm3", "lstm", [(9, U), (8, U), (11, U)], 3, dense=[(2, "none")], bias="ih"),
    Case("lstm3-both", "lstm", [(5, B), (6, U), (4, B)], 4, dense=[(3, "sigmoid")], init=True),
    Case("lstm-hard", "lstm", [(7, U)], 3, recurrent="hard_sigmoid", candidate="relu", dense=[(2, "hard_sigmoid")]),
    Case("lstm-tied", "lstm", [(16, U), (12, U)], 12, n_vocab=29, dense=[(29, "none")], tied=True, n_steps=24),
    Case("lstm-dense", "lstm", [(8, U)], 5, input_dense=[(7, "tanh"), (6, "relu")], dense=[(3, "none")]),
    Case("lstm-flat", "lstm", [(6, U)], 2, flatten=5, n_steps=5, dense=[(7, "relu"), (1, "none")]),
    Case("embed-flat", "rnn", [], 6, n_vocab=17, flatten=4, n_steps=4, dense=[(5, "relu"), (3, "softmax")]),
    Case("mlp", "rnn", [], 4, n_steps=3, dense=[(10, "relu"), (3, "softmax")]),
    # every weight format; the input's width 45 fills no block, so rnn_ih stays F16
    Case("elman-q", "rnn", [(64, U)], 32, dense=[(7, "none")], formats=ALL, n_steps=6, seed=2),
    Case("gru-q", "gru", [(32, B), (64, B)], 32, dense=[(5, "none")], formats=ALL, n_steps=5, seed=3),
    Case("gru-before-q", "gru", [(32, U), (32, U)], 45, reset_after=False, dense=[(5, "none")], formats=ALL[1:], n_steps=6),
    Case("lstm-q", "lstm", [(32, U), (64, U)], 64, n_vocab=40, dense=[(32, "relu"), (40, "none")], formats=ALL, n_steps=6),
]


def shapes(case):
    """name -> shape, as docs/FORMAT.md has them."""
    out, width, gates = {}, case.n_input, GATES[case.arch]
    if case.n_vocab:
        out["token_embd.weight"] = (case.n_vocab, case.n_input)
    for i, (n, _) in enumerate(case.input_dense):
        out[f"input_dense.{i}.weight"], out[f"input_dense.{i}.bias"] = (n, width), (n,)
        width = n
    for i, (n, both) in enumerate(case.layers):
        before = case.arch == "gru" and not case.reset_after
        for way in ["", "_rev"][: 1 + both]:
            part = lambda p: f"blk.{i}.rnn_{p}{way}"
            rows = {"ih": gates * n, "hh": (2 if before else gates) * n}
            out[part("ih") + ".weight"], out[part("hh") + ".weight"] = (rows["ih"], width), (rows["hh"], n)
            for p in {"both": ["ih", "hh"], "ih": ["ih"], "none": []}[case.bias]:
                out[part(p) + ".bias"] = (rows[p],)
            if before:
                out[part("hn") + ".weight"] = (n, n)
                if case.bias == "both":
                    out[part("hn") + ".bias"] = (n,)
            if case.init:
                out[part("init")] = (n * (2 if case.arch == "lstm" else 1),)
        width = n * (1 + both)
    width *= case.flatten or 1
    for i, (n, _) in enumerate(case.dense):
        if not (case.tied and i + 1 == len(case.dense)):
            out[f"dense.{i}.weight"] = (n, width)
        if case.bias != "none":
            out[f"dense.{i}.bias"] = (n,)
        width = n
    return out


def draw(case):
    """Weights drawn wide, so that a wrong gate, a lost bias or a swapped pair shows."""
    rng = np.random.default_rng(case.seed)
    scale = lambda shape: 1.6 / np.sqrt(shape[-1]) if len(shape) == 2 else 0.4
    return {k: (rng.standard_normal(s) * scale(s)).astype(np.float32) for k, s in shapes(case).items()}


def inputs(case, seed):
    rng = np.random.default_rng(1000 + seed)
    if case.n_vocab:
        return rng.integers(0, case.n_vocab, case.n_steps).astype(np.uint32)
    return rng.standard_normal((case.n_steps, case.n_input)).astype(np.float32)


def write(path, case, tensors, fmt):
    """Returns the types used and the weights as they come back from the file."""
    w, a = gguf.GGUFWriter(path, case.arch), case.arch
    w.add_name(case.name)
    w.add_uint32(f"{a}.block_count", len(case.layers))
    w.add_uint32(f"{a}.{'embedding_length' if case.n_vocab else 'input_length'}", case.n_input)
    if case.layers:
        w.add_array(f"{a}.hidden_lengths", [n for n, _ in case.layers])
        if any(both for _, both in case.layers):
            w.add_array(f"{a}.bidirectional", [both for _, both in case.layers])
        if a in ORDER:
            w.add_string(f"{a}.gate_order", ORDER[a])
        if a == "gru":
            w.add_bool("gru.reset_after", case.reset_after)
        if case.candidate != "tanh":
            w.add_string(f"{a}.{'activation' if a == 'rnn' else 'candidate_activation'}", case.candidate)
        if case.recurrent != "sigmoid":
            w.add_string(f"{a}.recurrent_activation", case.recurrent)
    if case.flatten:
        w.add_uint32(f"{a}.flatten_steps", case.flatten)
    for key, dense in ("input_dense", case.input_dense), ("dense", case.dense):
        if dense:
            w.add_uint32(f"{a}.{key}_count", len(dense))
            w.add_array(f"{a}.{key}_activations", [act for _, act in dense])
    types, back = {}, {}
    for name, value in tensors.items():
        fits = value.ndim == 2 and value.shape[1] % gguf.GGML_QUANT_SIZES[FORMATS[fmt]][0] == 0
        # A Q4_0 row's numbers are eighths of its largest, so rounding one to int8 would be full of ties.
        fits = fits and (fmt, name) != ("q4_0", "token_embd.weight")
        types[name] = FORMATS[fmt] if fits else Type.F16 if value.ndim == 2 else Type.F32
        data = quants.quantize(value, types[name])
        back[name] = quants.dequantize(data, types[name])
        w.add_tensor(name, data, raw_dtype=types[name])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return types, back


def run(case, tensors, data):
    """What the frameworks say, who they are, and how far apart they are."""
    want, judges, worst = Net(case, tensors).run(data), [], 0.0
    for judge in rnn_torch, rnn_keras:
        if not judge.can(case):
            continue
        judges.append(judge.NAME)
        for name, a, b in zip(["every", "last", "state"], judge.run(case, tensors, data), want):
            if a is not None and b is not None:
                worst = max(worst, np.abs(a - b).max(initial=0.0))
    assert judges and worst < 1e-8, (case.name, judges, worst)
    return want, judges, worst


def clear_run(case, types, back):
    """An input for which no rounding to int8 is near a tie."""
    best = 0.0
    for seed in range(4000):
        data = inputs(case, seed)
        net = Net(case, back, types)
        out = net.run(data)
        best = max(best, net.margin)
        if net.margin > MARGIN:
            return data, out
    raise SystemExit(f"{case.name}: no input without a tie, best {best:.1e}")


def golden(path, case, fmt, tensors, types, back):
    is_block = any(t in BLOCK_TYPES for t in types.values())
    data, rounded = clear_run(case, types, back) if is_block else (inputs(case, 0), None)
    exact, judges, worst = run(case, back, data)
    tables = [exact, rounded, run(case, tensors, data)[0]] if is_block else [exact]
    count = lambda i: 0 if exact[i] is None else exact[i].size
    head = [case.n_steps, 0 if case.n_vocab else case.n_input, count(0), count(1), count(2), len(tables)]
    with open(path, "wb") as f:
        f.write(np.array(head, "<u4").tobytes() + data.tobytes())
        for table in tables:
            f.write(b"".join(np.asarray(part, "<f4").tobytes() for part in table if part is not None))
    print(f"{case.name:16} {fmt:5} {' and '.join(judges):18} {worst:.1e} apart")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        tensors = draw(case)
        for fmt in case.formats:
            types, back = write(out / f"{case.name}.{fmt}.gguf", case, tensors, fmt)
            golden(out / f"{case.name}.{fmt}.bin", case, fmt, tensors, types, back)


if __name__ == "__main__":
    main()
