"""Copies gpt-nano-sort (GitHub bbycroft/llm-viz, MIT) and its published activations into the form the tests read.

    python nano_sort_data.py FOLDER ../../tests/data/nano-sort

FOLDER holds gpt-nano-sort-model.json and gpt-nano-sort-t0-partials.json.

nano-sort.f32.gguf  the model, through PyPI `gguf`
partials.bin        little-endian: u32 n_inputs, n_pos; u32 ids[n_inputs][n_pos]; then the stages, each
                    u32 name length, name, u32 width, f32 values[n_inputs][n_pos][width]
"""

import argparse
import base64
import json
import struct
from pathlib import Path

import numpy as np

import ggufio
import refmodels as ref
from numpy_gpt2 import Gpt2

SPEC = ref.Spec("gpt-nano-sort", 48, 3, 3, 3, 11, tied=False, quant_pos=True)
# published name -> ours; the published stages of one layer are layer 0's
STAGES = {"x": "embedding", "ln1": "blk.0.attn_norm", "qkv": "blk.0.attn_qkv", "y": "blk.0.attention",
          "attnResid": "blk.0.attn_out", "ln2": "blk.0.ffn_norm", "gelu": "blk.0.ffn_act",
          "block0": "blk.0.out", "block1": "blk.1.out", "block2": "blk.2.out", "ln_f": "output_norm",
          "lm_head": "logits"}
NAMES = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
         "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down", "wte": "token_embd", "wpe": "position_embd",
         "ln_f": "output_norm", "lm_head": "output"}


def load(path):
    """name -> float32 array"""
    read = lambda v: np.frombuffer(base64.b64decode(v["data"]), "<f4").reshape(v["shape"])
    return {k: read(v) for k, v in json.loads(path.read_text()).items() if k != "config"}


def gguf_name(name):
    path, kind = name.removeprefix("transformer.").rsplit(".", 1)
    prefix = ""
    if path.startswith("h."):
        _, layer, path = path.split(".", 2)
        prefix = f"blk.{layer}."
    return f"{prefix}{NAMES[path]}.{kind}"


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("folder", type=Path)
    args.add_argument("out", type=Path)
    a = args.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)

    # the causal masks are called attn.bias there, and are no weights
    weights = load(a.folder / "gpt-nano-sort-model.json").items()
    tensors = {gguf_name(k): v for k, v in weights if not k.endswith(".attn.bias")}
    model = a.out / "nano-sort.f32.gguf"
    ggufio.write(model, SPEC, tensors, "f32")

    partials = load(a.folder / "gpt-nano-sort-t0-partials.json")
    ids = partials["idx"].astype("<u4")
    body = struct.pack("<2I", *ids.shape) + ids.tobytes()
    for theirs, ours in STAGES.items():
        value = np.ascontiguousarray(partials[theirs], "<f4")
        body += struct.pack("<I", len(ours)) + ours.encode() + struct.pack("<I", value.shape[2]) + value.tobytes()
    (a.out / "partials.bin").write_bytes(body)

    oracle = Gpt2(model)
    worst = max(np.abs(oracle.logits(row.tolist()) - want).max() for row, want in zip(ids, partials["lm_head"]))
    print(f"{len(STAGES)} stages; numpy float64 is within {worst:.1e} of the published logits")
    assert worst < 1e-5


if __name__ == "__main__":
    main()
