"""Writes a GGUF of GPT-2's 124M shape with seeded random weights, for memory and speed; its text is noise.

    python make_124m.py OUT.gguf --quantize q8_0 --vocab encoder.json --merges vocab.bpe

--vocab and --merges are GPT-2's own tokenizer files; without them the model takes ids only.
"""

import argparse
from pathlib import Path

import numpy as np

import ggufio
import refmodels as ref
from bpe import read_vocab

SPEC = ref.Spec("random-124m", 768, 12, 12, 50257, 1024)


def shapes(spec):
    """Tensor name -> shape, matrices as (outputs, inputs), in the order of llama.cpp's converter."""
    d, inner = spec.n_embd, spec.n_inner or 4 * spec.n_embd
    out = {"token_embd.weight": (spec.n_vocab, d), "position_embd.weight": (spec.n_ctx, d)}
    for i in range(spec.n_layer):
        part = {"attn_norm": (d,), "attn_qkv": (3 * d, d), "attn_output": (d, d), "ffn_norm": (d,),
                "ffn_up": (inner, d), "ffn_down": (d, inner)}
        for name, shape in part.items():
            out[f"blk.{i}.{name}.weight"] = shape
            out[f"blk.{i}.{name}.bias"] = shape[:1]
    return out | {"output_norm.weight": (d,), "output_norm.bias": (d,)}


def draw(spec):
    """Standard deviations near a trained GPT-2's, so that the logits are neither flat nor a spike."""
    rng = np.random.default_rng(124)
    for name, shape in shapes(spec).items():
        noise = rng.standard_normal(shape, dtype=np.float32)
        if "norm.weight" in name:
            yield name, 1 + 0.1 * noise
        else:
            yield name, noise * np.float32(0.02 if "bias" in name or "position" in name else 0.05)


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("out", type=Path)
    args.add_argument("--quantize", choices=ggufio.FORMATS, default="q8_0")
    args.add_argument("--vocab", type=Path)
    args.add_argument("--merges", type=Path)
    a = args.parse_args()
    vocab = read_vocab(a.vocab, a.merges) if a.vocab else None
    ggufio.write(a.out, SPEC, dict(draw(SPEC)), a.quantize, vocab)
    print(f"{a.out}: {a.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
