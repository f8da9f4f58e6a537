"""Real recurrent models: `pagelm` against their makers' formulas in float64 and their makers' programs.

    python tools/reference/rnn_check.py --pagelm target/release/pagelm --g2p target/release/examples/g2p \\
        --ml5 CHARRNN_FOLDER [FOLDER ...] --text HELD_OUT [TEXT ...] --npz checkpoint20.npz

The charRNN folders are ml5-data-and-models' `models/charRNN/*`, each with a text of its author in the same
place of the list; the npz is PyPI g2p-en's. Prints a table; the exit status tells whether all bars are kept:
logits within 1e-4 of numpy in float64, every word of tests/data/g2p/words.tsv as g2p-en says it (in F32).
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np

from numpy_chars import CharRnn

ROOT = pathlib.Path(__file__).resolve().parents[2]
FORMATS = ("f32", "f16", "q8_0", "q4_0")


def run(*args, **kw):
    return subprocess.run([str(a) for a in args], check=True, capture_output=True, text=True, **kw).stdout


def char_rnn(pagelm, folder, text, tmp):
    """One row of the table; whether the bar is kept."""
    model, ids = CharRnn(folder), None
    bits = []
    for q in FORMATS:
        file = tmp / f"{folder.name}-{q}.gguf"
        run(pagelm, "convert", folder, "-o", file, "-q", q)
        got = json.loads(run(pagelm, "eval", file, text, "--drop-unknown", "--max-bytes", 60000, "--json"))
        bits.append(got["bits_per_character"])
        if ids is None:
            # The engine's own ids: its vocabulary is the folder's, with two letters put back.
            known = {c: i for i, c in model.vocab.items() if len(c) == 1}
            ids = [known[c] for c in text.read_text(encoding="utf-8")[:400] if c in known]
            rows = json.loads(run(pagelm, "logits", file, "--ids", ",".join(map(str, ids)), "--all"))["logits"]
            error = np.abs(np.array(rows) - model.logits(ids)).max()
    print(f"{folder.name:20} {len(ids)} steps, logits off by {error:.1e}; bits per character " + ", ".join(f"{q} {b:.4f}" for q, b in zip(FORMATS, bits)))
    return error <= 1e-4


def g2p(pagelm, program, npz, tmp):
    words = (ROOT / "tests/data/g2p/words.tsv").read_text(encoding="utf-8").splitlines()
    shutil.copy(npz, tmp / "checkpoint20.npz")
    equal = {}
    for q in FORMATS:
        for part in ("encoder", "decoder"):
            description = shutil.copy(ROOT / f"tests/data/g2p/g2p-{part}.json", tmp)
            run(pagelm, "convert", description, "-o", tmp / f"g2p-{part}.gguf", "-q", q)
        said = run(program, "--models", tmp, input="".join(w.split("\t")[0] + "\n" for w in words)).splitlines()
        equal[q] = sum(a == b for a, b in zip(said, words, strict=True))
    print(f"{'g2p_en':20} of {len(words)} words as g2p-en says them: " + ", ".join(f"{q} {n}" for q, n in equal.items()))
    return equal["f32"] == len(words) >= 500


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pagelm", type=pathlib.Path, required=True)
    p.add_argument("--g2p", type=pathlib.Path)
    p.add_argument("--npz", type=pathlib.Path)
    p.add_argument("--ml5", type=pathlib.Path, nargs="*", default=[])
    p.add_argument("--text", type=pathlib.Path, nargs="*", default=[])
    a = p.parse_args()
    kept = []
    with tempfile.TemporaryDirectory() as tmp:
        for folder, text in zip(a.ml5, a.text, strict=True):
            kept.append(char_rnn(a.pagelm, folder, text, pathlib.Path(tmp)))
        if a.npz:
            kept.append(g2p(a.pagelm, a.g2p, a.npz, pathlib.Path(tmp)))
    sys.exit(0 if kept and all(kept) else 1)


main()
