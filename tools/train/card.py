"""After training: converts, measures with the engine, and writes the model card."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import torch

import bits

FORMATS = ("f32", "q8_0", "q4_0")


def add_arguments(p):
    group = p.add_argument_group("the model card")
    group.add_argument("--pagelm", type=pathlib.Path, help="the engine's program; without it training is all that is done")
    group.add_argument("--held-out", type=pathlib.Path, help="tinystories_1000.json, which is not trained on")
    group.add_argument("--count", type=int, default=1000, help="of its stories, so many are measured")
    group.add_argument("--beside", nargs="*", default=[], metavar="NAME=BITS",
                       help="bits per byte of other models on the same stories (bits.py)")
    group.add_argument("--temperature", type=float, default=0.7)
    group.add_argument("--top-p", type=float, default=0.9)
    group.add_argument("--tokens", type=int, default=250)
    group.add_argument("--samples", type=int, default=10)
    group.add_argument("--bundle", default="q8_0", choices=FORMATS, help="the format that is bundled")


def engine(a, *words):
    """What the engine's program prints."""
    done = subprocess.run([str(a.pagelm), *map(str, words)], capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        sys.exit(f"{a.pagelm} {' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


def measure(a, file, texts):
    """Bits per byte of the stories, each read alone by the engine."""

    def told(text):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as story:
            story.write(text)
            story.flush()
            return json.loads(engine(a, "eval", file, story.name, "--json", "--drop-unknown"))

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        all_told = list(pool.map(told, texts))
    spent = sum(t["bits_per_byte"] * t["bytes"] for t in all_told)
    return spent / sum(t["bytes"] for t in all_told), sum(t["dropped_characters"] for t in all_told)


def finish(a, model, shape, amount):
    """Everything behind the training; without `--pagelm`, nothing."""
    if not a.pagelm:
        print(f"{a.out} is ready for `pagelm convert`")
        return
    texts = bits.held_out(a.held_out)[: a.count] if a.held_out else []
    rows, dropped = [], 0
    for kind in FORMATS:
        file = a.out / f"{a.name}-{kind}.gguf"
        engine(a, "convert", a.out, "-o", file, "--quantize", kind, "--name", a.name)
        if texts:
            quality, dropped = measure(a, file, texts)
            rows.append((f"{a.name} {kind.upper()}", f"{file.stat().st_size:,}", quality))
            print(f"{kind}: {quality:.4f} bits per byte", flush=True)
    rows += [(name, "", float(value)) for name, value in (pair.split("=") for pair in a.beside)]
    bundled = (a.out / f"{a.name}-{a.bundle}.gguf").rename(a.out / f"{a.name}.gguf")
    text = card(a, model, shape, amount, bundled, rows, dropped, samples(a, bundled))
    (a.out / f"{a.name}.md").write_text(text, encoding="utf-8")
    print(f"{a.out / a.name}.md is the card of {bundled}")


def samples(a, file):
    """(seed, text) of the first ten seeds; none is left out."""
    options = ["--temperature", a.temperature, "--top-p", a.top_p, "--tokens", a.tokens]
    return [(seed, engine(a, "generate", file, *options, "--seed", seed)) for seed in range(1, a.samples + 1)]


def command(argv):
    """The command line, with files named by their last part and without what only measures."""
    words, skip = [], False
    for word in argv:
        if word.startswith("--"):
            skip = word in ("--pagelm", "--held-out", "--beside", "--count", "--threads")
        if not skip:
            words.append(pathlib.Path(word).name if "/" in word else word)
    return shlex.join(["python", "tools/train/" + words[0], *words[1:]])


def plans(told):
    """A run that was told another number of steps on its way cannot hide it."""
    if len(told) < 2:
        return []
    falls = [steps - max(1, round(steps * decay)) for _, steps, decay in told]
    if all(at <= min(falls) for at, *_ in told):
        at, steps, decay = told[-1]
        return [f"| schedule | `--steps {steps} --decay {decay}` was decided at step {at:,}, before the rate fell or the text changed; the command below does the same from the beginning |"]
    ends = [f" --stop-at {after[0]}" for after in told[1:]] + [""]
    parts = (f"`--steps {steps} --decay {decay}{end}`" for (_, steps, decay), end in zip(told, ends))
    return ["| schedule | changed on the way, one after the other: " + ", ".join(parts) + " |"]


def trained_on(a):
    text = f"`{a.text.name}`: stories sampled from stories15M (MIT, of karpathy's llama2.c) at temperature 0.75 to 1.0, top-p 0.95"
    if a.last:
        text += f"; while the rate falls, `{a.last.name}`: the same at temperature 1 (`teacher.py`)"
    return text + "; a few stories of the last kept back for the loss curve"


def card(a, model, shape, amount, bundled, rows, dropped, written):
    count = sum(p.numel() for p in model.parameters())
    digest = hashlib.sha256(bundled.read_bytes()).hexdigest()
    held = f"{a.count:,} stories" if rows else ""
    lines = [
        f"# {a.name}", "",
        "Writes short stories for children. Written by the training script; nothing below was picked or edited.", "",
        "| | |", "|---|---|",
        f"| file | `{bundled.name}`, {bundled.stat().st_size:,} bytes, {a.bundle.upper()} |",
        f"| sha256 | `{digest}` |",
        f"| network | {shape}; {count:,} parameters |",
        f"| trained on | {trained_on(a)} |",
        f"| amount | {a.steps:,} steps, {amount} |",
        f"| seed | {a.seed} |",
        *plans(a.plans),
        f"| with | PyTorch {torch.__version__}, on a processor, {'F32' if getattr(a, 'f32', True) else 'bfloat16 products'} |",
        "| licence | MIT OR Apache-2.0, as pagelm |", "",
        "    " + command(sys.argv), "",
    ]
    if rows:
        lines += [
            "## Quality", "",
            f"Bits per byte on {held} of TinyStories that were never trained on, by `pagelm eval`. Each story is read alone from",
            "its beginning; counted are the bits of its text, not of the end, over its bytes in UTF-8. What is longer than the",
            "context is read in windows that overlap by half. Line breaks between paragraphs are single ones, quotes are plain.",
            "The llama2.c models were measured by `tools/train/bits.py` in PyTorch, F32, by the same rule.", "",
            "| model | bytes | bits per byte |", "|---|--:|--:|",
            *[f"| {name} | {size} | {quality:.4f} |" for name, size, quality in rows], "",
        ]
        if dropped:
            lines += [f"{dropped} characters that its vocabulary lacks were left out.", ""]
    lines += [f"![loss curve](../../tools/train/{a.name}.svg)", "", "## Ten samples", "",
              f"`pagelm generate {bundled.name} --temperature {a.temperature} --top-p {a.top_p} --tokens {a.tokens} --seed N`, unedited.", ""]
    for seed, text in written:
        lines += [f"### seed {seed}", "", *(f"> {line}  " if line else ">" for line in text.strip().split("\n")), ""]
    return "\n".join(lines)
