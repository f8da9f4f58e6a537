"""Small random models that carry GPT-2's real tokenizer: what text goes through in the live checks."""

import json
import shutil

import refmodels as ref
from gpt2_goldens import write_folder

TIED = ref.Spec("text-tied", 64, 2, 4, 50257, 128, seed=31)
UNTIED = ref.Spec("text-untied", 96, 2, 6, 50257, 96, tied=False, act="gelu_new", n_inner=160, seed=32)
PROMPT = "The quick brown fox said: \"I'd rather walk 12 miles\u2026 na\u00efve caf\u00e9 \U0001f98a\"\n\n  Then"


def folder(path, spec, vocab, merges):
    """A Hugging Face folder with tokenizer files under the names that `save_pretrained` gives them."""
    model = ref.build(spec)
    write_folder(path, spec, model)
    end = spec.n_vocab - 1
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"bos_token_id": end, "eos_token_id": end}, indent=2))
    shutil.copy(vocab, path / "vocab.json")
    shutil.copy(merges, path / "merges.txt")
    return model
