"""A case of rnn_goldens.py by Keras on TensorFlow, in float64: its own layers, built with and without return_sequences."""

import keras
import numpy as np

NAME = "Keras"
keras.config.set_floatx("float64")
CELLS = {"rnn": keras.layers.SimpleRNN, "gru": keras.layers.GRU, "lstm": keras.layers.LSTM}


# Keras 3 no longer has Keras 2's hard sigmoid: here by its definition. Bidirectional copies
# a layer by its configuration, so functions need names.
@keras.saving.register_keras_serializable("reference")
def hard_sigmoid_of_keras_2(x):
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@keras.saving.register_keras_serializable("reference")
def gelu_tanh(x):
    return keras.ops.gelu(x, approximate=True)


FUNCTIONS = {
    "none": "linear",
    "hard_sigmoid": hard_sigmoid_of_keras_2,
    "hard_sigmoid_6": "hard_sigmoid",
    "gelu_erf": lambda x: keras.ops.gelu(x, approximate=False),
    "gelu_tanh": gelu_tanh,
}


def can(case):
    """A Keras layer has no initial state of its own, and its head is not tied to an embedding."""
    return not case.init and not case.tied


def function(name):
    return FUNCTIONS.get(name, name)


def weights(case, i, tensors, way):
    """Keras' own layout of one direction: kernels (in, gates), GRU gates z, r, h."""

    def order(rows):
        if case.arch != "gru":
            return rows
        r, z, n = np.split(rows, 3)
        return np.concatenate([z, r, n])

    def whole(kind):
        rows = tensors.get(f"blk.{i}.rnn_hh{way}.{kind}")
        late = tensors.get(f"blk.{i}.rnn_hn{way}.{kind}")
        return rows if late is None else np.concatenate([rows, late])

    out = [order(tensors[f"blk.{i}.rnn_ih{way}.weight"]).T, order(whole("weight")).T]
    if case.bias != "none":
        ih = order(tensors[f"blk.{i}.rnn_ih{way}.bias"])
        hh = whole("bias")
        hh = np.zeros_like(ih) if hh is None else order(hh)
        out.append(np.stack([ih, hh]) if case.arch == "gru" and case.reset_after else ih.astype(np.float64) + hh)
    return out


def recurrent(case, i, tensors, every):
    hidden, both = case.layers[i]
    options = {"activation": function(case.candidate), "use_bias": case.bias != "none", "return_sequences": every}
    if case.arch != "rnn":
        options["recurrent_activation"] = function(case.recurrent)
    if case.arch == "gru":
        options["reset_after"] = case.reset_after
    layer = CELLS[case.arch](hidden, **options)
    values = weights(case, i, tensors, "")
    if both:
        layer = keras.layers.Bidirectional(layer)
        values = values + weights(case, i, tensors, "_rev")
    return layer, values


def dense(case, tensors, key, layers):
    for i, (width, act) in enumerate(layers):
        bias = tensors.get(f"{key}.{i}.bias")
        layer = keras.layers.Dense(width, activation=function(act), use_bias=bias is not None)
        yield layer, [tensors[f"{key}.{i}.weight"].T] + ([] if bias is None else [bias])


def model(case, tensors, every):
    """The layers of a Sequential, and their weights."""
    pairs = []
    if case.n_vocab:
        pairs.append((keras.layers.Embedding(case.n_vocab, case.n_input), [tensors["token_embd.weight"]]))
    pairs += dense(case, tensors, "input_dense", case.input_dense)
    for i in range(len(case.layers)):
        pairs.append(recurrent(case, i, tensors, every or case.flatten > 0 or i + 1 < len(case.layers)))
    if case.flatten:
        pairs.append((keras.layers.Flatten(), []))
    return pairs + list(dense(case, tensors, "dense", case.dense))


def outputs(case, tensors, data, every):
    pairs = model(case, tensors, every)
    width = [] if case.n_vocab else [case.n_input]
    net = keras.Sequential([keras.Input((case.n_steps, *width))] + [layer for layer, _ in pairs])
    for layer, values in pairs:
        layer.set_weights([np.asarray(v, np.float64) for v in values])
    return np.asarray(net(data[None]))[0]


def run(case, tensors, data):
    if case.flatten:
        return None, outputs(case, tensors, data, False), None
    every = outputs(case, tensors, data, True)
    # Without a recurrent layer there is nothing to leave out the sequence.
    last = outputs(case, tensors, data, False) if case.layers else every[-1]
    return every, last, None
