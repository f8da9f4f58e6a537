"""What the training scripts share: a character model, its data, its files.

A model is an embedding, one recurrent layer of PyTorch and a dense head. It is
saved the way `pagelm convert` reads it: `model.safetensors` beside a
`pagelm.json` that says which tensor is what (docs/CONVERT.md).
"""

import json
import math
import pathlib
import time

import torch
from safetensors.torch import save_file
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
def bits_per_char(model, ids, batch=16, span=512):
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


def rate(step, steps, peak, warmup=200):
    """A short rise, then half a cosine down to a fiftieth."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, done))))


def train(model, ids, held_out, a, checkpoint):
    """Truncated back-propagation through time; goes on from the checkpoint if there is one.

    `a` has steps, batch, span, lr, weight_decay, every. Returns the loss curve:
    rows of (step, training bits per character, held-out bits per character).
    """
    decay = [p for p in model.parameters() if p.dim() > 1]
    plain = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": decay, "weight_decay": a.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.99))
    rows, step, at, state, curve, best = streams(ids, a.batch), 0, 0, None, [], math.inf
    best_weights = None
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step, at, state, curve = saved["step"], saved["at"], saved["state"], saved["curve"]
        best, best_weights = saved["best"], saved["best_weights"]
        torch.set_rng_state(saved["rng"])
        print(f"goes on from step {step}", flush=True)
    seen, total, began = 0, 0.0, time.time()
    while step < a.steps:
        if at + a.span + 1 > rows.shape[1]:
            # A new pass starts elsewhere, so that pieces do not always break at the same places.
            shift = int(torch.randint(len(ids), (1,)))
            rows, at, state = streams(torch.roll(ids, shift), a.batch), 0, None
        x, y = rows[:, at : at + a.span], rows[:, at + 1 : at + a.span + 1]
        at += a.span
        for group in optimizer.param_groups:
            group["lr"] = rate(step, a.steps, a.lr)
        logits, state = model(x, state)
        state = detach(state)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, seen, total = step + 1, seen + 1, total + loss.item()
        if step % a.every == 0 or step == a.steps:
            held = bits_per_char(model, held_out)
            if held < best:
                best = held
                best_weights = {k: v.clone() for k, v in model.state_dict().items()}
            curve.append((step, total / seen / math.log(2), held))
            print(f"step {step}: {curve[-1][1]:.4f} training, {held:.4f} held out, {time.time() - began:.0f} s", flush=True)
            seen, total = 0, 0.0
            saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "at": at,
                     "state": state, "curve": curve, "best": best, "best_weights": best_weights,
                     "rng": torch.get_rng_state()}
            part = checkpoint.with_suffix(".part")
            torch.save(saved, part)
            part.replace(checkpoint)
    model.load_state_dict(best_weights)
    return curve


def save(model, vocabulary, out, name, bos=None, eos=None):
    """Writes the folder that `pagelm convert` takes."""
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, out / "model.safetensors")
    description = {
        "name": name,
        "layers": [
            {"type": "embedding", "module": "embed"},
            {"type": model.cell, "module": "rnn"},
            {"type": "dense", "module": "head"},
        ],
        "vocabulary": vocabulary,
    }
    if bos is not None:
        description["bos"] = bos
        description["add_bos"] = True
    if eos is not None:
        description["eos"] = eos
    (out / "pagelm.json").write_text(json.dumps(description, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def draw(curve, path, title):
    """The loss curve as SVG: training and held-out bits per character over steps."""
    w, h, left, top, right, bottom = 640, 360, 56, 36, 16, 44
    lows = [min(r[1], r[2]) for r in curve]
    lo, hi = math.floor(min(lows) * 10) / 10, math.ceil(max(max(r[1], r[2]) for r in curve) * 10) / 10
    hi = min(hi, lo + 2.0)
    last = curve[-1][0]
    x = lambda s: left + (w - left - right) * s / last
    y = lambda v: top + (h - top - bottom) * (hi - min(v, hi)) / (hi - lo)
    line = lambda i: " ".join(f"{x(r[0]):.1f},{y(r[i]):.1f}" for r in curve)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" font-size="12">',
             f'<rect width="{w}" height="{h}" fill="#fff"/><text x="{left}" y="22" font-size="14">{title}</text>']
    ticks = max(2, round((hi - lo) / 0.2))
    for i in range(ticks + 1):
        v = lo + (hi - lo) * i / ticks
        parts.append(f'<path d="M{left} {y(v):.1f}H{w - right}" stroke="#ddd"/><text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.2f}</text>')
    for i in range(6):
        s = last * i / 5
        parts.append(f'<text x="{x(s):.1f}" y="{h - bottom + 18}" text-anchor="middle">{s:,.0f}</text>')
    parts.append(f'<text x="{(left + w - right) / 2}" y="{h - 8}" text-anchor="middle">steps</text>')
    for i, (name, color) in enumerate((("training (with dropout)", "#888"), ("held out", "#c33"))):
        parts.append(f'<polyline points="{line(i + 1)}" fill="none" stroke="{color}" stroke-width="1.5"/>'
                     f'<text x="{w - right - 6}" y="{top + 16 + 16 * i}" text-anchor="end" fill="{color}">{name}, bits per character</text>')
    path.write_text("\n".join(parts) + "\n</svg>\n")


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
