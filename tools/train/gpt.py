"""A GPT-2 of any size, its optimizer, and the folder that `pagelm convert` reads.

The architecture is GPT-2's (pre-norm, learned positions, GELU by tanh, tied
head); Linear matrices are (outputs, inputs) here and are turned when saved.
"""

import json
import math

import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, n_embd, n_head):
        super().__init__()
        self.n_head = n_head
        self.ln_1 = nn.LayerNorm(n_embd)
        self.c_attn = nn.Linear(n_embd, 3 * n_embd)
        self.c_proj = nn.Linear(n_embd, n_embd)
        self.ln_2 = nn.LayerNorm(n_embd)
        self.c_fc = nn.Linear(n_embd, 4 * n_embd)
        self.mlp_proj = nn.Linear(4 * n_embd, n_embd)

    def forward(self, x):
        """x (batch, time, n_embd)"""
        b, t, d = x.shape
        heads = self.c_attn(self.ln_1(x)).view(b, t, 3, self.n_head, d // self.n_head)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # each (batch, n_head, time, head_dim)
        x = x + self.c_proj(attention(q, k, v).transpose(1, 2).reshape(b, t, d))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


def attention(q, k, v, causal=True):
    """Each position looks at itself and those before it, or at all there are."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    # PyTorch 1.13, Debian 12's, lacks the function.
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        scores = scores.masked_fill(later, -math.inf)
    return torch.softmax(scores, -1) @ v


class Gpt(nn.Module):
    def __init__(self, n_vocab, n_ctx, n_embd, n_layer, n_head):
        super().__init__()
        self.n_ctx, self.n_head = n_ctx, n_head
        self.wte = nn.Embedding(n_vocab, n_embd)
        self.wpe = nn.Embedding(n_ctx, n_embd)
        self.h = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.ln_f = nn.LayerNorm(n_embd)
        self.apply(self.start)
        for block in self.h:
            # What is added to the residual stream begins small, as in GPT-2.
            for part in (block.c_proj, block.mlp_proj):
                nn.init.normal_(part.weight, std=0.02 / math.sqrt(2 * n_layer))

    @staticmethod
    def start(part):
        if isinstance(part, (nn.Linear, nn.Embedding)):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)

    def forward(self, ids):
        """ids (batch, time) -> logits (batch, time, n_vocab)"""
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


# What Hugging Face's GPT-2 calls our modules.
NAMES = {"c_attn": "attn.c_attn", "c_proj": "attn.c_proj", "c_fc": "mlp.c_fc", "mlp_proj": "mlp.c_proj"}


def save(model, folder, name, end):
    """Writes the files that `pagelm convert` takes, beside vocab.json and merges.txt."""
    tensors = {}
    for key, value in model.state_dict().items():
        for ours, theirs in NAMES.items():
            key = key.replace(f".{ours}.", f".{theirs}.")
        # Hugging Face's Conv1D is (inputs, outputs).
        turn = key.endswith("weight") and (".attn." in key or ".mlp." in key)
        tensors["transformer." + key] = (value.T if turn else value).contiguous().numpy()
    save_file(tensors, folder / "model.safetensors")
    n_vocab, n_embd = model.wte.weight.shape
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "_name_or_path": name,
        "vocab_size": n_vocab, "n_positions": model.n_ctx, "n_embd": n_embd, "n_layer": len(model.h),
        "n_head": model.n_head, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True, "bos_token_id": end, "eos_token_id": end,
    }
    roles = {"add_bos_token": True, "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    for file, content in (("config.json", config), ("tokenizer_config.json", roles)):
        (folder / file).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix is made orthogonal before each step (K. Jordan, 2024); MIT.

    It learns a text in fewer steps than AdamW; only for the matrices of the blocks.
    """

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                m = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                # Queries, keys and values are three matrices in one.
                parts = torch.lerp(p.grad, m, group["momentum"]).chunk(3 if p.shape[0] == 3 * p.shape[1] else 1)
                update = torch.cat([orthogonal(part) for part in parts])
                tall = max(1.0, parts[0].shape[0] / parts[0].shape[1])
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * tall**0.5)


def orthogonal(g, steps=5):
    """The nearest matrix with all singular values about one, by Newton-Schulz steps."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x.T if g.shape[0] > g.shape[1] else x
