"""Running the `pagelm` program and keeping score."""

import json
import subprocess

import numpy as np


class Pagelm:
    def __init__(self, path):
        self.path = path

    def run(self, *args):
        done = subprocess.run([self.path, *map(str, args)], capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace").strip() or f"exit {done.returncode}")
        return done.stdout.decode()

    def convert(self, folder, out, fmt):
        self.run("convert", folder, "-o", out, "--quantize", fmt)

    def logits(self, model, ids, *options):
        """(n_pos, n_vocab)"""
        out = json.loads(self.run("logits", model, "--ids", ",".join(map(str, ids)), "--all", *options))
        rows = np.array(out["logits"], np.float32)
        assert out["ids"] == ids and rows.shape == (len(ids), out["n_vocab"]), rows.shape
        return rows

    def generate(self, model, prompt, n):
        """Greedy: (prompt_ids, ids)"""
        return self.greedy(model, n, "--prompt", prompt)

    def generate_ids(self, model, prompt_ids, n):
        """Greedy, for a model without a tokenizer."""
        return self.greedy(model, n, "--prompt-ids", ",".join(map(str, prompt_ids)))[1]

    def greedy(self, model, n, *prompt):
        out = json.loads(self.run("generate", model, *prompt, "--tokens", n, "--temperature", 0, "--ignore-eos", "--json"))
        return out["prompt_ids"], out["ids"]

    def tokenize(self, model, path):
        out = self.run("tokenize", model, "--file", path, "--json")
        return json.loads(out)["ids"]


class Score:
    """Prints each finding as it comes; the exit status is whether all held."""

    def __init__(self):
        self.failed = []

    def row(self, ok, *cells):
        line = "  ".join(cells)
        print(f"{'ok  ' if ok else 'FAIL'}  {line}", flush=True)
        if not ok:
            self.failed.append(line)

    def finish(self):
        print(f"\n{len(self.failed)} failed" if self.failed else "\nall held")
        raise SystemExit(1 if self.failed else 0)
