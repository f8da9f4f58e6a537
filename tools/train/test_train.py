"""python -m unittest discover tools/train: the parts of the training scripts, and shortened runs.

With PAGELM naming the engine's program, the shortened runs also convert, measure
and generate with it.
"""

import contextlib
import io
import json
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import types
import unittest

import torch

import bits
import bpe
import card
import charmodel
import curve
import gpt
import llama2c
import loop
import pieces
import stories
import teacher

HERE = pathlib.Path(__file__).parent
TEXT = HERE / "testdata" / "stories.txt.gz"
PAGELM = os.environ.get("PAGELM")
GPT = ["stories.py", "--vocab", "384", "--ctx", "64", "--embd", "64", "--layers", "2", "--heads", "2", "--batch", "8", "--f32"]
GRU = ["stories_gru.py", "--vocab", "192", "--embd", "32", "--hidden", "64", "--batch", "16", "--span", "32"]


def settings(steps):
    return types.SimpleNamespace(steps=steps, warmup=3, decay=0.3, clip=1.0, every=5, stop_at=None, lr=1e-2, muon_lr=0.02, weight_decay=0.1)


def quietly(run, *args):
    with contextlib.redirect_stdout(io.StringIO()):
        return run(*args)


def start(words, out, *more):
    line = [sys.executable, str(HERE / words[0]), *words[1:], "--text", str(TEXT), "--out", str(out), "--threads", "1", *more]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(words, out, *more):
    process = start(words, out, *more)
    printed = process.communicate()[0]
    if process.returncode:
        raise AssertionError(printed)
    return printed


class Resuming(unittest.TestCase):
    """A run that stops and goes on ends in the same weights, to the bit."""

    def check(self, make):
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory() as folder:
            straight, broken = pathlib.Path(folder) / "a", pathlib.Path(folder) / "b"
            curves, weights = [], []
            for path, stops in ((straight, [20]), (broken, [10, 20])):
                for steps in stops:
                    torch.manual_seed(7)
                    model, optimizers, data = make()
                    a = settings(20)
                    if steps < 20:
                        model, data = self.interrupt(model, data, steps)
                        with self.assertRaises(SystemExit):
                            quietly(loop.train, model, optimizers, data, a, path)
                    else:
                        torch.manual_seed(steps)  # the checkpoint brings its own
                        curves.append(quietly(loop.train, model, optimizers, data, a, path) if len(stops) > 1
                                      else self.seeded(model, optimizers, data, a, path))
                        weights.append(model.state_dict())
            self.assertEqual(curves[0], curves[1])
            for key in weights[0]:
                self.assertTrue(torch.equal(weights[0][key], weights[1][key]), key)

    def seeded(self, model, optimizers, data, a, path):
        torch.manual_seed(11)
        return quietly(loop.train, model, optimizers, data, a, path)

    def interrupt(self, model, data, steps):
        """Sends this process a Ctrl-C in the middle of a step."""
        torch.manual_seed(11)
        loss, count = data.loss, 0

        def counting(m):
            nonlocal count
            count += 1
            if count == steps:
                os.kill(os.getpid(), signal.SIGINT)
            return loss(m)

        data.loss = counting
        return model, data

    def tearDown(self):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def test_gpt(self):
        texts = [[0, *[1 + (i * j) % 30 for j in range(5 + i)]] for i in range(40)]

        def make():
            model = gpt.Gpt(31, 16, 32, 1, 2)
            return model, stories.optimizers(model, settings(20)), stories.Rows(texts, texts[:3], 16, 4, 1, False)

        self.check(make)

    def test_gpt_with_another_text_at_last(self):
        texts = [[0, *[1 + (i * j) % 30 for j in range(5 + i)]] for i in range(40)]

        def make():
            model = gpt.Gpt(31, 16, 32, 1, 2)
            # From step 8 on, before the interruption.
            a = types.SimpleNamespace(steps=20, decay=0.6)
            data = loop.Turn(*(stories.Rows(part, part[:3], 16, 4, 1, False) for part in (texts[:20], texts[20:])), a)
            return model, stories.optimizers(model, settings(20)), data

        self.check(make)

    def test_gru_with_dropout(self):
        ids = torch.arange(600) * 7 % 23

        def make():
            model = charmodel.CharModel("gru", 23, 8, 16, 0.1)
            return model, [charmodel.optimizer(model, settings(20))], charmodel.Streams(ids, ids[:64], 4, 16)

        self.check(make)


class Parts(unittest.TestCase):
    def test_turn(self):
        part = lambda name: types.SimpleNamespace(loss=lambda model: name, held_out=lambda model: name)
        data = loop.Turn(part("first"), part("last"), types.SimpleNamespace(steps=10, decay=0.3))
        self.assertEqual([data.loss(None) for _ in range(10)], ["first"] * 7 + ["last"] * 3)
        self.assertEqual(data.held_out(None), "last")

    def test_rates(self):
        rates = [loop.rate(s, 100, 10, 0.2) for s in range(100)]
        self.assertAlmostEqual(rates[0], 0.1)
        self.assertEqual(set(rates[9:81]), {1.0})
        self.assertAlmostEqual(rates[99], 0.05)

    def test_orthogonal(self):
        for shape in ((16, 16), (48, 16), (16, 64)):
            s = torch.linalg.svdvals(gpt.orthogonal(torch.randn(shape, generator=torch.Generator().manual_seed(1))))
            self.assertGreater(float(s.min()), 0.3, shape)
            self.assertLess(float(s.max()), 1.3, shape)

    def test_attention_without_the_function(self):
        q, k, v = torch.randn(3, 2, 2, 5, 8, generator=torch.Generator().manual_seed(1))
        want = torch.stack([torch.softmax(q[:, :, t : t + 1] @ k[:, :, : t + 1].mT / math.sqrt(8), -1) @ v[:, :, : t + 1]
                            for t in range(5)], 2)[..., 0, :]
        self.assertTrue(torch.allclose(gpt.attention(q, k, v), want, atol=1e-5))

    def test_rows_begin_with_stories_and_lose_none(self):
        texts = [[9, i] for i in range(8)] + [[9, *range(20, 29)]]
        rows = stories.Rows(texts, [], 3, 1, 1, False)
        seen = [rows.next()[0].tolist() for _ in range(len(rows.rows) or 1)]
        rows.shuffle(0)
        self.assertTrue(all(r[0] == 9 and len(r) == 4 for r in rows.rows))
        self.assertIn(seen[0], rows.rows)
        firsts = {r[i + 1] for r in rows.rows for i in range(3) if r[i] == 9}
        self.assertGreaterEqual(len(firsts), 8)

    def test_longest_match(self):
        reader = pieces.LongestMatch(["a", "b", "ab", "abb", pieces.END])
        self.assertEqual(reader.encode("abbaba"), [3, 2, 0])
        with self.assertRaisesRegex(ValueError, "'x'"):
            reader.encode("ax")

    def test_windows_count_every_token_once(self):
        # A model that gives each of 8 tokens the same chance: three bits a token.
        even = lambda ids: torch.zeros(1, ids.shape[1], 8)
        for n in (2, 5, 6, 7, 40):
            self.assertAlmostEqual(bits.story_bits(even, [0] * n, 6), 3 * (n - 1), 4)

    def test_nucleus(self):
        logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).repeat(500, 1)
        got = teacher.draw(logits, torch.ones(500), 0.8, torch.Generator().manual_seed(1))
        self.assertEqual(set(got.tolist()), {0, 1})

    def test_pick(self):
        p = torch.tensor([[0.0, 0.2, 0.0, 0.6, 0.2, 0.0]]).repeat(2000, 1)
        got = torch.bincount(teacher.pick(p, torch.Generator().manual_seed(1)), minlength=6) / 2000
        self.assertTrue(torch.allclose(got, p[0], atol=0.05), got)
        self.assertEqual(got[[0, 2, 5]].sum(), 0)

    def test_teacher_with_few_tokens(self):
        model, generator = small_llama(), torch.Generator().manual_seed(1)
        head = teacher.Head(model, 6)
        texts = [quietly(teacher.write, model, head, 40, (1, 1), 1, generator)]
        quietly(head.shrink)
        texts.append(quietly(teacher.write, model, head, 40, (1, 1), 1, generator))
        for written in texts:
            self.assertEqual(len(written), 40)
            self.assertTrue(all(len(t) <= model.n_ctx and llama2c.BOS not in t for t in written))
        self.assertGreater(len({i for t in texts[0] for i in t}), 6)
        self.assertLessEqual({i for t in texts[1] for i in t}, set(head.tokens.tolist()))

    def test_llama_by_steps_is_llama_at_once(self):
        model = small_llama()
        ids = torch.tensor([[1, 5, 9, 2, 7]])
        cache = model.cache(1)
        steps = torch.cat([model(ids[:, i : i + 1], cache, i) for i in range(5)], 1)
        self.assertTrue(torch.allclose(model(ids), steps, atol=1e-5))

    def test_card_says_how_the_schedule_changed(self):
        self.assertEqual(card.plans([(0, 100, 0.3)]), [])
        self.assertIn("decided at step 60", card.plans([(0, 100, 0.3), (60, 100, 0.4)])[0])
        for late in ([(0, 100, 0.3), (61, 100, 0.4)], [(0, 100, 0.3), (80, 200, 0.3)]):
            self.assertIn("one after the other", card.plans(late)[0])

    def test_curve_is_xml(self):
        import xml.dom.minidom

        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "c.svg"
            curve.draw([(10, 5.0, 5.5), (20, 4.0, 4.2)], path, "t", "bits per token")
            self.assertEqual(len(xml.dom.minidom.parse(str(path)).getElementsByTagName("polyline")), 2)


def small_llama():
    """A random llama2.c file with grouped-query attention, read back."""
    d, hidden, layers, heads, kv, vocab, ctx = 16, 24, 2, 4, 2, 12, 8
    n = vocab * d + layers * (d + d * d + 2 * d * d // 2 + d * d + d + 3 * d * hidden) + d + ctx * d // heads
    numbers = torch.randn(n, generator=torch.Generator().manual_seed(1)) * 0.3
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "m.bin"
        head = torch.tensor([d, hidden, layers, heads, kv, vocab, ctx], dtype=torch.int32)
        path.write_bytes(head.numpy().tobytes() + numbers.numpy().tobytes())
        return llama2c.Llama(path)


class ShortenedRuns(unittest.TestCase):
    """The commands that train the bundled models, with less of everything."""

    def check(self, words, name, steps, bar):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder)
            more = ["--steps", str(steps), "--every", str(steps // 2)]
            if PAGELM:
                held = out / "held-out.json"
                held.write_text(json.dumps(bpe.stories(TEXT)[:5]))
                more += ["--pagelm", PAGELM, "--held-out", str(held), "--samples", "3", "--tokens", "40"]
            printed = finished(words, out, *more)
            # Kept back: the first fiftieth, the five stories above and one more.
            held = float(re.findall(r"held out ([\d.]+)", printed)[-1])
            self.assertLess(held, bar, printed)
            if PAGELM:
                self.engine(out, name, printed)

    def engine(self, out, name, printed):
        quality = {k: float(v) for k, v in re.findall(r"(\w+): ([\d.]+) bits per byte", printed)}
        self.assertLess(abs(quality["q8_0"] - quality["f32"]), 0.02)
        text = (out / f"{name}.md").read_text()
        self.assertEqual(len(re.findall(r"^### seed", text, re.M)), 3)
        self.assertIn(f"{quality['f32']:.4f}", text)
        again = subprocess.run([PAGELM, "generate", str(out / f"{name}.gguf"), "--prompt", "Once upon a time", "--tokens", "20"],
                               capture_output=True, text=True, check=True).stdout
        self.assertGreater(len(again.strip()), 10)
        if name == "stories":
            self.assertAlmostEqual(quality["f32"], self.torch_bits(out), 3)

    def torch_bits(self, out):
        """The engine's figure once more, in PyTorch from the checkpoint."""
        tokenizer, end = bpe.load(out)
        model = gpt.Gpt(384, 64, 64, 2, 2)
        model.load_state_dict(torch.load(out / "checkpoint.pt")["model"])
        texts = bits.held_out(out / "held-out.json")
        return bits.bits_per_byte(model, lambda t: [end, *tokenizer.encode(t).ids], texts, 64)

    def test_gpt(self):
        self.check(GPT, "stories", 120, 5.6)

    def test_gru(self):
        self.check(GRU, "stories-gru", 200, 5.2)

    def test_ctrl_c_saves(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder)
            process = start(GRU, out, "--steps", "100000", "--every", "2")
            for _ in range(1200):
                if (out / "checkpoint.pt").exists() or process.poll() is not None:
                    break
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            printed = process.communicate(timeout=120)[0]
            self.assertEqual(process.returncode, 130, printed)
            stopped = int(re.search(r"stopped at step (\d+)", printed)[1])
            printed = finished(GRU, out, "--steps", str(stopped + 2), "--every", "2")
            self.assertIn(f"goes on from step {stopped}", printed)


if __name__ == "__main__":
    unittest.main()
