"""GGUF: GPT-2 by PyPI's gguf, read by llama.cpp, wllama and pagelm alike; recurrent models by `pagelm convert`."""

import json
import subprocess

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants

TYPES = {"f32": (GGMLQuantizationType.F32, 0), "f16": (GGMLQuantizationType.F16, 1),
         "q8_0": (GGMLQuantizationType.Q8_0, 7), "q4_0": (GGMLQuantizationType.Q4_0, 2)}
TOP = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}
BLOCK = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
         "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}


def gpt(path, weights, shape, dtype, vocabulary):
    kind, file_type = TYPES[dtype]
    g = GGUFWriter(path, "gpt2")
    g.add_name("random weights")
    g.add_file_type(file_type)
    g.add_context_length(shape["context"])
    g.add_embedding_length(shape["width"])
    g.add_feed_forward_length(4 * shape["width"])
    g.add_block_count(shape["layers"])
    g.add_head_count(shape["heads"])
    g.add_layer_norm_eps(1e-5)
    g.add_vocab_size(shape["vocab"])
    tokenizer(g, shape["vocab"], vocabulary)
    for name, array in weights.items():
        add(g, name, array, kind)
    g.write_header_to_file()
    g.write_kv_data_to_file()
    g.write_tensors_to_file()
    g.close()


def tokenizer(g, vocab, folder):
    """GPT-2's own, cut to the first `vocab` tokens where the shape has fewer."""
    ids = json.loads((folder / "encoder.json").read_text("utf-8"))
    merges = [line for line in (folder / "vocab.bpe").read_text("utf-8").split("\n")[1:] if line]
    whole = vocab == len(ids)
    g.add_tokenizer_model("gpt2")
    g.add_tokenizer_pre("gpt-2")
    g.add_token_list(sorted(ids, key=ids.get)[:vocab])
    g.add_token_types([1] * (vocab - 1) + [3 if whole else 1])
    g.add_token_merges(merges if whole else merges[:vocab - 256])
    g.add_bos_token_id(vocab - 1)
    g.add_eos_token_id(vocab - 1)
    g.add_add_bos_token(False)


def add(g, name, array, kind):
    module, part = name.rsplit(".", 1)
    if module in TOP:
        module = TOP[module]
    else:
        _, layer, inner = module.split(".", 2)
        module, array = f"blk.{layer}.{BLOCK[inner]}", array.T if part == "weight" else array
    array = np.ascontiguousarray(array)
    if array.ndim == 1 or module == "position_embd":
        return g.add_tensor(f"{module}.{part}", array)
    if kind == GGMLQuantizationType.Q4_0 and module == "token_embd":
        kind = GGMLQuantizationType.Q8_0  # the tied head; llama.cpp's own tool keeps it at more bits, too
    g.add_tensor(f"{module}.{part}", quants.quantize(array, kind), raw_dtype=kind)


def recurrent(path, weights, shape, dtype, pagelm):
    """By a description in JSON beside an .npz, gates in PyTorch's order."""
    kind, hidden = shape["kind"], shape["hidden"]
    order = (0, 2, 3, 1) if kind == "lstm" else (1, 0, 2)  # i o f c -> i f g o; z r h -> r z n

    def gates(array):
        parts = array.reshape(len(order), hidden, -1)[list(order)]
        return parts.reshape(array.shape)

    arrays, layers = {"emb": weights["emb"]}, [{"type": "embedding", "weight": "emb"}]
    for i in range(shape["layers"]):
        b, r = np.split(weights[f"B{i}"], 2)
        arrays |= {f"ih{i}": gates(weights[f"W{i}"]), f"hh{i}": gates(weights[f"R{i}"]),
                   f"bi{i}": gates(b), f"bh{i}": gates(r)}
        layers.append({"type": kind, "weight_ih": f"ih{i}", "weight_hh": f"hh{i}", "bias_ih": f"bi{i}", "bias_hh": f"bh{i}"})
    arrays |= {"out": weights["out.w"].T, "out_bias": weights["out.b"]}
    layers.append({"type": "dense", "weight": "out", "bias": "out_bias"})
    folder = path.parent / "description"
    folder.mkdir(exist_ok=True)
    np.savez(folder / "weights.npz", **{name: np.ascontiguousarray(array) for name, array in arrays.items()})
    (folder / "pagelm.json").write_text(json.dumps({"weights": "weights.npz", "layers": layers}))
    subprocess.run([pagelm, "convert", folder, "-o", path, "--quantize", dtype], check=True, capture_output=True)
