"""Seeded random GPT-2 models of PyTorch transformers, and how to run them.

A trained model forgives: its attention is mild and its activations are small. These weights are drawn wide on
purpose, so that a wrong GELU, a lost bias, an off-by-one position or a wrong scale shows in the logits.
"""

from dataclasses import dataclass

import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from transformers import GPT2Config, GPT2LMHeadModel


@dataclass(frozen=True)
class Spec:
    name: str
    n_embd: int
    n_layer: int
    n_head: int
    n_vocab: int
    n_ctx: int
    n_inner: int | None = None
    act: str = "gelu_new"
    tied: bool = True
    head_bias: bool = False
    attn_bias: bool = True
    eps: float = 1e-5
    inverse_layer_scale: bool = False
    scale_attn: bool = True
    quant_pos: bool = False  # position table in the model's format too (llama.cpp keeps it F32)
    std: float = 0.16
    seed: int = 1
    n_golden: int | None = None  # positions in the golden run; None: the whole context

    @property
    def n_ids(self):
        return self.n_golden or self.n_ctx


# Small: their files are checked in.
SMALL = [
    Spec("tiny", 64, 2, 4, 320, 64, n_golden=32, seed=11),
    # nothing here is a multiple of 8, and head_dim is 18
    Spec("odd90", 90, 1, 5, 203, 37, n_inner=202, act="gelu", tied=False, head_bias=True, quant_pos=True, seed=12),
    # rows of 45 halves: 90 bytes, so every second row is not 4-byte aligned; head_dim is 15
    Spec("odd45", 45, 2, 3, 67, 19, n_inner=101, act="relu", attn_bias=False, eps=1e-3, std=0.2, seed=13),
    # n_inner 200 is no multiple of 32: ffn_down stays F16 beside block-quantised neighbours
    Spec("mixed96", 96, 2, 6, 203, 48, n_inner=200, tied=False, quant_pos=True, seed=14),
]
# Bigger or further from the usual: made when needed.
LIVE = [
    Spec("wide", 192, 3, 6, 1024, 128, std=0.1, seed=21),
    Spec("odd1003", 90, 2, 5, 1003, 37, n_inner=200, act="gelu", tied=False, seed=22),
    Spec("fast", 64, 2, 2, 300, 40, act="gelu_fast", n_inner=96, seed=23),
    Spec("pytanh", 32, 1, 1, 97, 33, act="gelu_pytorch_tanh", eps=1e-2, std=0.3, seed=24),
    Spec("inverse", 64, 3, 4, 129, 32, inverse_layer_scale=True, seed=25),
    Spec("unscaled", 64, 2, 8, 129, 32, scale_attn=False, seed=26),
]
SPECS = {s.name: s for s in SMALL + LIVE}


def build(spec):
    """The model in float64, weights exactly representable in float32."""
    config = GPT2Config(
        vocab_size=spec.n_vocab, n_positions=spec.n_ctx, n_embd=spec.n_embd, n_layer=spec.n_layer,
        n_head=spec.n_head, n_inner=spec.n_inner, activation_function=spec.act, layer_norm_epsilon=spec.eps,
        tie_word_embeddings=spec.tied, scale_attn_by_inverse_layer_idx=spec.inverse_layer_scale,
        scale_attn_weights=spec.scale_attn, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=0, eos_token_id=0, attn_implementation="eager",
    )
    model = GPT2LMHeadModel(config).eval()
    if spec.head_bias:
        model.lm_head.bias = torch.nn.Parameter(torch.zeros(spec.n_vocab))
    draw = torch.Generator().manual_seed(spec.seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=draw)
            if ".ln_" in name and name.endswith("weight"):
                p.copy_(1 + 0.3 * noise)
            elif name.endswith("bias"):
                p.copy_(0.3 * noise)
                if not spec.attn_bias and ".attn." in name:
                    p.zero_()
            else:
                p.copy_(spec.std * (2 if "wte" in name or "wpe" in name or "lm_head" in name else 1) * noise)
    return model.double()


def sequence(spec):
    """A fixed id sequence: random, with the first and last id of the vocabulary and a repeat in it."""
    ids = np.random.default_rng(spec.seed).integers(0, spec.n_vocab, spec.n_ids)
    ids[0], ids[1], ids[2:4] = spec.n_vocab - 1, 0, ids[4]
    return [int(i) for i in ids]


def logits(model, ids):
    """(n_pos, n_vocab), in the model's own float type."""
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def greedy(model, ids, n):
    """n greedy tokens and, for each, how far the best logit is above the second."""
    out, margins = list(ids), []
    for _ in range(n):
        row = logits(model, out)[-1]
        second, best = np.sort(row)[-2:]
        out.append(int(row.argmax()))
        margins.append(float(best - second))
    return out[len(ids):], margins


def state(model):
    """llama.cpp tensor name -> float64 array, matrices as (rows = outputs, columns = inputs)."""
    rename = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm",
              "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    top = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output"}
    out = {}
    for name, p in model.named_parameters():
        path, kind = name.removeprefix("transformer.").rsplit(".", 1)
        value = p.detach().numpy()
        if path.startswith("h."):
            _, layer, part = path.split(".", 2)
            # Conv1D keeps its matrix as (in, out)
            value = value.T if value.ndim == 2 else value
            out[f"blk.{layer}.{rename[part]}.{kind}"] = value
        else:
            out[f"{top[path]}.{kind}"] = value
    return out


def with_weights(spec, weights):
    """The same model with other weights: what `state` gave, changed."""
    model = build(spec)
    with torch.no_grad():
        for name, value in state(model).items():
            if name in weights:
                # the arrays of `state` are views of the parameters
                value[...] = weights[name]
    return model


class Int8:
    """What pagelm does to the activations of a block-quantised product, per block of 32: the scale is amax / 127 in
    float32, each value is x times (127 / amax) in float32, rounded half to even.

    `clearance` is how near any value came to the middle between two levels, in levels. Float32 sums taken in another
    order differ by about 1e-5 of a level; a value nearer to a tie than that may fall to either side, and one such
    step moves the logits by nearly as much as the whole rounding does, because the layers after it round anew.
    PyTorch's own float32 and float64 runs part in the same way. So logits are compared tightly where the run is
    CLEAR, and only there.
    """

    CLEAR = 5e-5

    def __init__(self, model, types):
        self.clearance = 0.5
        for layer, block in enumerate(model.transformer.h):
            for part, module in [("attn_qkv", block.attn.c_attn), ("attn_output", block.attn.c_proj),
                                 ("ffn_up", block.mlp.c_fc), ("ffn_down", block.mlp.c_proj)]:
                self.hook(module, types[f"blk.{layer}.{part}.weight"])
        self.hook(model.lm_head, types.get("output.weight", types["token_embd.weight"]))
        self.model = model

    def hook(self, module, type):
        if type in (Type.Q8_0, Type.Q4_0):
            module.register_forward_pre_hook(lambda _, args: (self.round(args[0]),))

    def round(self, x):
        blocks = x.detach().numpy().astype(np.float32).reshape(*x.shape[:-1], -1, 32)
        amax = np.abs(blocks).max(-1, keepdims=True)
        inverse = np.divide(np.float32(127), amax, out=np.zeros_like(amax), where=amax > 0)
        scaled = blocks * inverse
        levels = np.rint(scaled)
        self.clearance = min(self.clearance, 0.5 - float(np.abs(scaled - levels).max()))
        scale = (amax / np.float32(127)).astype(np.float64)
        return torch.from_numpy((levels * scale).reshape(x.shape)).to(x.dtype)

    def logits(self, ids):
        """The logits, and whether no rounding was near a tie."""
        self.clearance = 0.5
        rows = logits(self.model, ids)
        return rows, self.clearance > self.CLEAR

    def clear_sequence(self, spec, n):
        """The first random sequence of n ids that is CLEAR, and its logits."""
        for seed in range(10_000):
            ids = random_ids(spec, n, seed)
            rows, clear = self.logits(ids)
            if clear:
                return ids, rows
        raise RuntimeError(f"{spec.name}: every sequence of {n} has a tie")


def random_ids(spec, n, seed):
    return [int(i) for i in np.random.default_rng([spec.seed, seed]).integers(0, spec.n_vocab, n)]


def rms(a, b):
    """rms(a - b) / rms(b)"""
    return float(np.sqrt(np.square(a.astype(np.float64) - b).mean() / np.square(b).mean()))


def distance(a, b):
    """max |a - b| / max |b|"""
    return float(np.abs(a.astype(np.float64) - b).max() / np.abs(b).max())
