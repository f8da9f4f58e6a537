"""The training loop: schedule, progress, checkpoints, the loss curve.

A run can be stopped at any time (Ctrl-C saves first) and goes on where it was:
weights, optimizers, place in the data and random numbers are in the checkpoint,
so a stopped run ends in the same weights as one that never stopped.
"""

import math
import signal
import sys
import time

import torch


def rate(step, steps, warmup, decay):
    """What the peak rate is multiplied by: a rise, a plateau, a straight line to nought.

    On the plateau the rate does not depend on `steps`, so a run may be given
    fewer or more steps until its decay begins.
    """
    last = max(1, round(steps * decay))
    return min(1.0, (step + 1) / max(1, warmup), (steps - step) / last)


def cosine(step, steps, warmup, _):
    """A rise, then half a cosine down to a fiftieth."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, done)))


def train(model, optimizers, data, a, checkpoint, schedule=rate):
    """Trains to `a.steps` and returns the curve: (step, training bits, held-out bits).

    `data` has loss(model) for the next batch, in nats, held_out(model) in bits,
    state_dict() and load_state_dict(). `a` has steps, warmup, decay, every, clip.
    """
    peaks = [[group["lr"] for group in o.param_groups] for o in optimizers]
    step, curve, plans = 0, [], []
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location="cpu", weights_only=False)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"]):
            optimizer.load_state_dict(state)
        data.load_state_dict(saved["data"])
        torch.set_rng_state(saved["rng"])
        step, curve, sums, plans = saved["step"], saved["curve"], saved["sums"], saved["plans"]
        print(f"goes on from step {step}", flush=True)
    else:
        sums = [0.0, 0]

    # What the run was told, and from which step on; the card says it.
    plan = (a.steps, a.decay)
    if not plans or plans[-1][1:] != plan:
        plans.append((step, *plan))
    a.plans = plans

    def save():
        state = {"model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers],
                 "data": data.state_dict(), "rng": torch.get_rng_state(), "step": step, "curve": curve, "sums": sums,
                 "plans": plans}
        part = checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(checkpoint)

    stop = Stop()
    show = Progress(step, a.steps)
    while step < a.steps:
        for optimizer, lrs in zip(optimizers, peaks):
            for group, peak in zip(optimizer.param_groups, lrs):
                group["lr"] = peak * schedule(step, a.steps, a.warmup, a.decay)
            optimizer.zero_grad(set_to_none=True)
        loss = data.loss(model)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), a.clip)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        sums = [sums[0] + loss.item() / math.log(2), sums[1] + 1]
        show(step, sums[0] / sums[1])
        if step % a.every == 0 or step == a.steps:
            held = data.held_out(model)
            curve.append((step, sums[0] / sums[1], held))
            sums = [0.0, 0]
            show.line(f"step {step}: {curve[-1][1]:.4f} bits per token, held out {held:.4f}")
            save()
        if stop.asked or step == a.stop_at:
            save()
            show.line(f"stopped at step {step}; the same command goes on from here")
            sys.exit(130)
    stop.done()
    return curve


class Turn:
    """Data that is one text at first and another while the rate falls.

    What is learned on the plateau is rough anyway, so the text that the model
    shall resemble most comes last.
    """

    def __init__(self, first, last, a):
        self.parts, self.step = (first, last), 0
        self.turn = a.steps - max(1, round(a.steps * a.decay))

    def loss(self, model):
        part = self.parts[self.step >= self.turn]
        self.step += 1
        return part.loss(model)

    def held_out(self, model):
        return self.parts[1].held_out(model)

    def state_dict(self):
        return {"step": self.step, "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state):
        self.step = state["step"]
        for part, its in zip(self.parts, state["parts"]):
            part.load_state_dict(its)


class Stop:
    """Ctrl-C, remembered until the step is done; a second one ends at once."""

    def __init__(self):
        self.asked = False
        self.before = {number: signal.signal(number, self.note) for number in (signal.SIGINT, signal.SIGTERM)}

    def note(self, number, _):
        self.asked = True
        signal.signal(number, signal.SIG_DFL)

    def done(self):
        """After the training the signals mean again what they meant."""
        for number, handler in self.before.items():
            signal.signal(number, handler)


class Progress:
    """One line that says how far it is and how long it will take; on a terminal it moves."""

    def __init__(self, first, steps):
        self.first, self.steps, self.began, self.shown = first, steps, time.time(), 0.0

    def __call__(self, step, bits):
        now = time.time()
        if not sys.stderr.isatty() or now - self.shown < 0.5:
            return
        self.shown = now
        print(f"\r{step}/{self.steps} {bits:.3f} bits, {self.left(step)} ", end="", file=sys.stderr, flush=True)

    def left(self, step):
        took = time.time() - self.began
        rest = took / max(1, step - self.first) * (self.steps - step)
        return f"{clock(took)} so far, {clock(rest)} left"

    def line(self, text):
        if sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr)
        step = int(text.split("step ")[1].split()[0].rstrip(":;"))
        print(f"{text}, {self.left(step)}", flush=True)


def clock(seconds):
    """3725 -> 1:02:05"""
    s = round(seconds)
    return f"{s // 3600}:{s // 60 % 60:02}:{s % 60:02}"
