"""Trains a GRU that takes the hum and the noise out of a signal, sample by sample.

    python tools/train/denoise.py --out DIR

The signal is made up: a slow wandering line with pulses, sampled 250 times a
second, as a pulse sensor gives it; on it lie the mains' hum (50 Hz, of any
strength and phase) and white noise. The network sees one sample at a time, and
says what the clean signal was three samples ago. A minute on one core.
"""

import argparse
import json
import math
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

RATE, HUM, DELAY = 250, 50, 3


def signals(n, steps, generator):
    """(n, steps, 1) each: what the sensor should see, and what it does"""
    rand = lambda *shape: torch.rand(*shape, generator=generator)
    t = torch.arange(steps) / RATE
    wander = sum(0.4 * rand(n, 1) * torch.sin(2 * math.pi * (0.1 + 1.4 * rand(n, 1)) * t + 6.3 * rand(n, 1)) for _ in range(3))
    period, start = 0.5 + 0.7 * rand(n, 1), rand(n, 1)
    phase = torch.remainder(t + start, period)
    pulses = (0.6 + 0.8 * rand(n, 1)) * torch.exp(-(((phase - 0.2) / (0.025 + 0.03 * rand(n, 1))) ** 2))
    clean = wander + pulses
    hum = rand(n, 1) * torch.sin(2 * math.pi * HUM * t + 6.3 * rand(n, 1))
    noise = 0.15 * torch.randn(n, steps, generator=generator)
    return clean[..., None], (clean + hum + noise)[..., None]


class Filter(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.rnn = nn.GRU(1, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


def rms(a, b):
    """Over all but the first fifth of a second, in which the filter settles, the delay taken out."""
    return ((a[:, RATE // 5 + DELAY :] - b[:, RATE // 5 : b.shape[1] - DELAY]) ** 2).mean().sqrt().item()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--hidden", type=int, default=16)
    p.add_argument("--steps", type=int, default=1500)
    a = p.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(a.seed)
    generator = torch.Generator().manual_seed(a.seed)
    model = Filter(a.hidden)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(a.steps):
        optimizer.param_groups[0]["lr"] = 1e-2 * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / a.steps)))
        clean, noisy = signals(32, 300, generator)
        loss = ((model(noisy)[:, 20:] - clean[:, 20 - DELAY : -DELAY]) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 250 == 0:
            print(f"step {step + 1}: {loss.item() ** 0.5:.4f} rms", flush=True)
    clean, noisy = signals(64, 2000, torch.Generator().manual_seed(a.seed + 1000))
    with torch.no_grad():
        before = (noisy - clean).square().mean().sqrt().item()
        print(f"new signals: off by {before:.4f} rms before, {rms(model(noisy), clean):.4f} after")
    a.out.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), a.out / "model.safetensors")
    sample = [noisy[0, :500], clean[0, :500], model(noisy[:1, :500])[0].detach()]
    for name, numbers in zip(("noisy", "clean", "filtered"), sample):
        (a.out / f"{name}.txt").write_text("".join(f"{x:.9g}\n" for x in numbers[:, 0].tolist()))
    layers = [{"type": "gru", "module": "rnn"}, {"type": "dense", "module": "head"}]
    (a.out / "pagelm.json").write_text(json.dumps({"name": "denoise", "layers": layers}, indent=1) + "\n")


main()
