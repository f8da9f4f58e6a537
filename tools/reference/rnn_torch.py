"""A case of rnn_goldens.py by PyTorch's own modules, in float64."""

import torch
from torch import nn

NAME = "PyTorch"
MODULES = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
FUNCTIONS = {
    "none": nn.Identity(), "relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(-1),
    "hard_sigmoid_6": nn.Hardsigmoid(), "gelu_tanh": nn.GELU(approximate="tanh"), "gelu_erf": nn.GELU(),
}


def can(case):
    """What nn.RNN, nn.GRU and nn.LSTM know."""
    functions = [act for _, act in case.input_dense + case.dense]
    return (
        case.candidate in (["tanh", "relu"] if case.arch == "rnn" else ["tanh"])
        and case.recurrent == "sigmoid"
        and case.reset_after
        and all(act in FUNCTIONS for act in functions)
    )


def tensor(value):
    return torch.as_tensor(value, dtype=torch.float64)


def recurrent(case, i, tensors, width):
    hidden, both = case.layers[i]
    extra = {"nonlinearity": case.candidate} if case.arch == "rnn" else {}
    module = MODULES[case.arch](width, hidden, bidirectional=both, batch_first=True, dtype=torch.float64, **extra)
    with torch.no_grad():
        for name, p in module.named_parameters():
            kind, part, _, *way = name.split("_")
            mine = f"blk.{i}.rnn_{part}{'_rev' if way else ''}.{kind}"
            p.copy_(tensor(tensors[mine])) if mine in tensors else p.zero_()
    return module


def start(case, i, tensors):
    hidden, both = case.layers[i]
    zeros = torch.zeros(hidden * 2, dtype=torch.float64)
    inits = [tensor(tensors.get(f"blk.{i}.rnn_init{way}", zeros)) for way in ["", "_rev"][: 1 + both]]
    h = torch.stack([x[:hidden] for x in inits])[:, None]
    return (h, torch.stack([x[hidden:] for x in inits])[:, None]) if case.arch == "lstm" else h


def dense(case, tensors, key, layers, x):
    for i, (_, act) in enumerate(layers):
        weight = tensors.get(f"{key}.{i}.weight", tensors.get("token_embd.weight"))
        bias = tensors.get(f"{key}.{i}.bias")
        x = nn.functional.linear(x, tensor(weight), None if bias is None else tensor(bias))
        x = FUNCTIONS[act](x)
    return x


@torch.no_grad()
def run(case, tensors, data):
    x = torch.as_tensor(data.astype("int64")) if case.n_vocab else tensor(data)
    if case.n_vocab:
        x = nn.functional.embedding(x, tensor(tensors["token_embd.weight"]))
    x = dense(case, tensors, "input_dense", case.input_dense, x[None])
    last, states = x[:, -1], []
    for i in range(len(case.layers)):
        x, final = recurrent(case, i, tensors, x.shape[-1])(x, start(case, i, tensors))
        h, c = final if case.arch == "lstm" else (final, None)
        last = h[:, 0].reshape(1, -1)
        for way in range(h.shape[0]):
            states += [h[way, 0]] + ([] if c is None else [c[way, 0]])
    state = torch.cat(states).numpy() if states else tensor([]).numpy()
    if case.flatten:
        return None, dense(case, tensors, "dense", case.dense, x.reshape(1, -1))[0].numpy(), state
    every = dense(case, tensors, "dense", case.dense, x)[0].numpy()
    return every, dense(case, tensors, "dense", case.dense, last)[0].numpy(), state
