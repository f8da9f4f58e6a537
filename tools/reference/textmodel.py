"""Small models that carry GPT-2's real tokenizer: what text goes through in the live checks."""

import json
import shutil

import torch

import refmodels as ref
from gpt2_goldens import write_folder

# Random: every step is a narrow choice, so the smallest difference between two engines shows.
TIED = ref.Spec("text-tied", 64, 2, 4, 50257, 128, seed=31)
UNTIED = ref.Spec("text-untied", 96, 2, 6, 50257, 96, tied=False, n_inner=160, seed=32)
# Taught STORY by heart: every step is a wide choice, so two right engines write the same text in every format.
TAUGHT = [
    ref.Spec("taught-tied", 64, 2, 4, 50257, 128, std=0.02, seed=33),
    ref.Spec("taught-untied", 96, 2, 6, 50257, 128, tied=False, n_inner=160, std=0.02, seed=34),
]

PROMPT = "The quick brown fox said: \"I'd rather walk 12 miles\u2026 na\u00efve caf\u00e9 \U0001f98a\"\n\n  Then"
STORY = (
    "Down by the mill, where 3 old willows lean over the water, a heron kept a small shop for lost things. "
    "It sold buttons, bells and one left boot, and it never asked for money. \u201cPay me with a story,\u201d it said, "
    "\u201cand mind that it's true.\u201d So the otter told of the winter when the river stood still, and took home the boot."
)


def teach(spec, ids, steps=150):
    """The spec's model, trained until it knows one text by heart."""
    model = ref.build(spec).float().train()
    torch.manual_seed(spec.seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    batch = torch.tensor([ids])
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(batch, labels=batch).loss
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.02, f"{spec.name}: the loss is still {loss.item():.3f}"
    return model.eval().double()


def folder(path, spec, model, vocab, merges):
    """A Hugging Face folder with tokenizer files under the names that `save_pretrained` gives them."""
    write_folder(path, spec, model)
    end = spec.n_vocab - 1
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"bos_token_id": end, "eos_token_id": end}, indent=2))
    shutil.copy(vocab, path / "vocab.json")
    shutil.copy(merges, path / "merges.txt")
