"""Writes tests/data/gpt2: small GGUF files made by PyPI `gguf`, and the logits PyTorch gives for them.

    python gpt2_goldens.py ../../tests/data/gpt2

NAME.FORMAT.gguf  the model
NAME.FORMAT.bin   little-endian: u32 n_pos, n_vocab, n_tables; u32 ids[n_pos]; n_tables of f32 (n_pos, n_vocab):
                  0  PyTorch in float64 on the weights as they are in the file (dequantised)
                  1  (block formats) the same with activations rounded to int8 in front of block-quantised products
                  2  (block formats) PyTorch on the float32 weights, before quantisation
                The ids of a block format's run are chosen so that no rounding is near a tie (refmodels.Int8).
hf-NAME/          the same model as a Hugging Face folder
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

import ggufio
import refmodels as ref
from numpy_gpt2 import Gpt2

CHECKED_IN = {"tiny": ["f32", "f16", "q8_0", "q4_0"], "odd90": ["f32", "f16"], "odd45": ["f32", "f16"],
              "mixed96": ["q8_0", "q4_0"]}
FOLDERS = ["odd45"]
# positions in the golden run of a block format: few, so that a run without a rounding tie is found
N_BLOCK = 16


def write_folder(path, spec, model):
    """What `save_pretrained` writes, less what varies between its versions."""
    path.mkdir(parents=True, exist_ok=True)
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": spec.act,
        "n_ctx": spec.n_ctx, "n_positions": spec.n_ctx, "n_embd": spec.n_embd, "n_head": spec.n_head,
        "n_layer": spec.n_layer, "n_inner": spec.n_inner, "vocab_size": spec.n_vocab,
        "layer_norm_epsilon": spec.eps, "tie_word_embeddings": spec.tied,
        "scale_attn_by_inverse_layer_idx": spec.inverse_layer_scale, "scale_attn_weights": spec.scale_attn,
        "torch_dtype": "float32",
    }
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    drop = () if spec.attn_bias else ("attn.c_attn.bias", "attn.c_proj.bias")
    tensors = {k: v.detach().float().contiguous() for k, v in model.named_parameters() if not k.endswith(drop)}
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})


def tables(spec, model, types, back):
    """ids, the logits that a file must give, and their own uncertainty: float32 PyTorch against float64."""
    exact, ids = ref.with_weights(spec, back), ref.sequence(spec)
    if is_block(types):
        int8 = ref.Int8(ref.with_weights(spec, back), types)
        ids, rounded = int8.clear_sequence(spec, N_BLOCK)
        out = [ref.logits(exact, ids), rounded, ref.logits(model, ids)]
    else:
        out = [ref.logits(exact, ids)]
    own = ref.distance(ref.logits(exact.float(), ids), out[0])
    return ids, out, own


def is_block(types):
    return any(t in (ggufio.FORMATS["q8_0"], ggufio.FORMATS["q4_0"]) for t in types.values())


def write_golden(path, ids, tabs):
    head = np.array([len(ids), tabs[0].shape[1], len(tabs), *ids], "<u4")
    path.write_bytes(head.tobytes() + b"".join(t.astype("<f4").tobytes() for t in tabs))


def check_oracle(path, ids, tabs):
    """Two float64 implementations that share no code must agree before either may judge pagelm."""
    oracle = Gpt2(path)
    worst = max(ref.distance(oracle.logits(ids, round_int8=i == 1), t) for i, t in enumerate(tabs[:2]))
    assert worst < 1e-7, f"{path}: numpy and PyTorch differ by {worst:.1e}"
    return worst


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("out", type=Path)
    out = args.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print("model.format        spread   f32 torch   numpy f64   int8 act.   format")
    for name, formats in CHECKED_IN.items():
        spec = ref.SPECS[name]
        model = ref.build(spec)
        if name in FOLDERS:
            write_folder(out / f"hf-{name}", spec, model)
        for fmt in formats:
            path = out / f"{name}.{fmt}.gguf"
            types, back = ggufio.write(path, spec, ref.state(model), fmt)
            ids, tabs, own = tables(spec, model, types, back)
            numpy_error = check_oracle(path, ids, tabs)
            write_golden(path.with_suffix(".bin"), ids, tabs)
            block = f"{ref.rms(tabs[1], tabs[0]):11.1e} {ref.rms(tabs[0], tabs[2]):8.1e}" if is_block(types) else ""
            print(f"{path.stem:18} {tabs[0].std():7.2f} {own:11.1e} {numpy_error:11.1e} {block}")


if __name__ == "__main__":
    main()
