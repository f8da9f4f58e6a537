"""Small random Keras models in every kind of file, and what Keras gives for them.

    python tools/reference/keras_goldens.py OUT

Needs its own environment: tensorflow-cpu==2.21.0 (with Keras 3.15) and
tf_keras==2.21.0 (Keras 2). OUT is tools/cli/tests/data/keras. Beside each model
`goldens.json` has an input and the outputs that Keras computed.
"""

import json
import os
import pathlib
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras as keras3
import numpy as np
import tf_keras as keras2


def models(k):
    """(name, model builder) of one Keras version; every layer and convention occurs."""
    L = k.layers
    return {
        "dense": lambda: k.Sequential([L.Input((4,)), L.Dense(10, activation="relu"), L.Dropout(0.5), L.Dense(3), L.Activation("softmax")]),
        "image": lambda: k.Sequential([L.Input((3, 4)), L.Flatten(), L.Dense(5, activation="gelu"), L.Dense(2, activation="hard_sigmoid")]),
        "lstm": lambda: k.Sequential([L.Input((None, 3)), L.LSTM(6, return_sequences=True), L.LSTM(5), L.Dense(2)]),
        "lstm-words": lambda: k.Sequential([L.Input((None,)), L.Embedding(13, 5), L.Bidirectional(L.LSTM(4, return_sequences=True)), L.LSTM(3), L.Dense(4, activation="sigmoid")]),
        "gru-after": lambda: k.Sequential([L.Input((None, 3)), L.GRU(5, return_sequences=True), L.GRU(4), L.Dense(3)]),
        "gru-before": lambda: k.Sequential([L.Input((None, 3)), L.GRU(5, reset_after=False, recurrent_activation="hard_sigmoid", return_sequences=True), L.TimeDistributed(L.Dense(2))]),
        "rnn": lambda: k.Sequential([L.Input((None, 2)), L.Dense(4, activation="tanh"), L.SimpleRNN(5, activation="relu", use_bias=False)]),
        "flatten": lambda: k.Sequential([L.Input((6,)), L.Embedding(9, 4), L.Flatten(), L.Dense(3)]),
        "steps": lambda: k.Sequential([L.Input((5, 3)), L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode="sum"), L.Flatten(), L.Dense(2)]),
        "functional": lambda: functional(k),
    }


def functional(k):
    L = k.layers
    x = L.Input((None, 3), name="signal")
    h = L.Bidirectional(L.SimpleRNN(4, return_sequences=True), merge_mode="ave", name="both")(x)
    h = L.Dropout(0.2)(h)
    h = L.SimpleRNN(3, name="last")(h)
    return k.Model(x, L.Dense(2, activation="tanh", name="head")(h))


def fill(model, rng):
    """Random weights, biases too, which Keras begins as zeros."""
    model.set_weights([rng.normal(0, 0.5, w.shape).astype("f4") for w in model.get_weights()])


# Which file each model is saved in: every reader sees every kind of layer.
FILES = [
    (keras3, "dense", "keras"), (keras2, "dense", "h5"), (keras3, "image", "keras"),
    (keras3, "lstm", "h5"), (keras3, "lstm-words", "keras"),
    (keras2, "gru-after", "h5"), (keras3, "gru-after", "keras"), (keras2, "gru-before", "h5"), (keras3, "gru-before", "keras"),
    (keras3, "rnn", "keras"), (keras2, "flatten", "h5"), (keras3, "steps", "keras"),
    (keras2, "functional", "h5"), (keras3, "functional", "keras"),
]


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    goldens = {}
    for seed, (k, name, kind) in enumerate(FILES):
        rng = np.random.default_rng(seed)
        k.utils.set_random_seed(seed)
        model = models(k)[name]()
        fill(model, rng)
        version = "keras3" if k is keras3 else "keras2"
        file = f"{name}-{version}.{kind}"
        model.save(out / file)
        shape = [d or 7 for d in model.input_shape[1:]]
        tokens = name in ("lstm-words", "flatten")
        x = rng.integers(0, 9, shape) if tokens else rng.normal(0, 1, shape).astype("f4")
        y = np.asarray(model(np.asarray(x)[None].astype("i4" if tokens else "f4")))[0]
        goldens[file] = {
            "ids" if tokens else "input": np.asarray(x).flatten().tolist(),
            "every_step": y.ndim == 2,
            "output": [float(v) for v in y.flatten()],
        }
        print(file, (out / file).stat().st_size, y.shape)
    (out / "goldens.json").write_text(json.dumps(goldens, indent=0) + "\n")


main()
