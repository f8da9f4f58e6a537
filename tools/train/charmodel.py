"""Recurrent models of text: the network, its data, its files.

A model is an embedding, one recurrent layer of PyTorch and a dense head. It is
saved the way `pagelm convert` reads it: `model.safetensors` beside a
`pagelm.json` that says which tensor is what (docs/CONVERT.md).
"""

import json
import math

import torch
from safetensors.numpy import save_file
from torch import nn

CELLS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class CharModel(nn.Module):
    """embedding -> recurrent layer -> logits of the next character"""

    def __init__(self, cell, n_vocab, n_embd, n_hidden, dropout):
        super().__init__()
        self.cell = cell
        self.embed = nn.Embedding(n_vocab, n_embd)
        self.rnn = CELLS[cell](n_embd, n_hidden, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(n_hidden, n_vocab)

    def forward(self, ids, state=None):
        """ids (batch, time) -> logits (batch, time, n_vocab), the state after them"""
        h, state = self.rnn(self.drop(self.embed(ids)), state)
        return self.head(self.drop(h)), state


def detach(state):
    """The state without its history."""
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def streams(ids, batch):
    """(n,) -> (batch, n // batch): one row is one piece of the text, read front to back"""
    n = len(ids) // batch
    return ids[: n * batch].view(batch, n)


@torch.no_grad()
def bits_per_token(model, ids, batch=16, span=512):
    """The model's mean code length over a text, the state carried along each stream."""
    model.eval()
    rows, total, count, state = streams(ids, batch), 0.0, 0, None
    for at in range(0, rows.shape[1] - 1, span):
        x, y = rows[:, at : at + span], rows[:, at + 1 : at + span + 1]
        logits, state = model(x[:, : y.shape[1]], state)
        total += nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum").item()
        count += y.numel()
    model.train()
    return total / count / math.log(2)


class Streams:
    """Truncated back-propagation through time: each row of a batch reads on where it was."""

    def __init__(self, ids, held, batch, span):
        self.ids, self.held, self.batch, self.span = ids, held, batch, span
        self.at, self.state = 0, None
        self.roll(0)

    def roll(self, shift):
        self.shift = shift
        self.rows = streams(torch.roll(self.ids, shift), self.batch)

    def next(self):
        """Two (batch, span): what is read, and what comes next."""
        if self.at + self.span + 1 > self.rows.shape[1]:
            # A new pass begins elsewhere, so that pieces do not always break at the same places.
            self.roll(int(torch.randint(len(self.ids), (1,))))
            self.at, self.state = 0, None
        at, self.at = self.at, self.at + self.span
        return self.rows[:, at : at + self.span], self.rows[:, at + 1 : at + self.span + 1]

    def loss(self, model):
        x, y = self.next()
        logits, state = model(x, self.state)
        self.state = detach(state)
        return nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())

    def held_out(self, model):
        return bits_per_token(model, self.held)

    def state_dict(self):
        return {"at": self.at, "shift": self.shift, "state": self.state}

    def load_state_dict(self, state):
        self.roll(state["shift"])
        self.at, self.state = state["at"], state["state"]


def optimizer(model, a):
    """AdamW; biases do not decay."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": a.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.99))


def save(model, vocabulary, out, name, bos=None, eos=None, control=()):
    """Writes the folder that `pagelm convert` takes."""
    save_file({k: v.contiguous().numpy() for k, v in model.state_dict().items()}, out / "model.safetensors")
    description = {
        "name": name,
        "layers": [
            {"type": "embedding", "module": "embed"},
            {"type": model.cell, "module": "rnn"},
            {"type": "dense", "module": "head"},
        ],
        "vocabulary": vocabulary,
    }
    if control:
        description["control"] = list(control)
    if bos is not None:
        description["bos"] = bos
        description["add_bos"] = True
    if eos is not None:
        description["eos"] = eos
    (out / "pagelm.json").write_text(json.dumps(description, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


@torch.no_grad()
def sample(model, vocabulary, prompt, n, temperature, seed):
    """Text that follows a prompt, one character at a time."""
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    ids, state, out = torch.tensor([[vocabulary.index(c) for c in prompt]]), None, prompt
    for _ in range(n):
        logits, state = model(ids, state)
        p = torch.softmax(logits[0, -1] / temperature, 0)
        ids = torch.multinomial(p, 1, generator=generator)[None]
        out += vocabulary[int(ids)]
    return out
