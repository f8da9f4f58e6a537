"""Words and how PyPI g2p-en 2.1.0 itself says them: tests/data/g2p/words.tsv.

    python tools/reference/g2p_goldens.py TEXT NAMES OUT

TEXT is any English book, NAMES a list of names, one on a line. g2p-en looks
most words up in a dictionary; here its network is asked for all of them. Its
module fetches data for that dictionary when it is imported, which is kept out.
"""

import pathlib
import random
import re
import sys
import types

# The dictionary and the tagger, which the network does not need.
for name in ("nltk", "nltk.corpus", "nltk.tokenize"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["nltk"].pos_tag = sys.modules["nltk"].download = None
sys.modules["nltk"].data = types.SimpleNamespace(find=lambda _: None)
sys.modules["nltk.corpus"].cmudict = types.SimpleNamespace(dict=dict)
sys.modules["nltk.tokenize"].TweetTokenizer = lambda: types.SimpleNamespace(tokenize=str.split)

from g2p_en import G2p

INVENTED = "elephant browser activationist pagelm wasm qubit zzyzx strengthsworthy x aaaa quixotically bnf rhythmm"


def main():
    text, names, out = map(pathlib.Path, sys.argv[1:])
    rng = random.Random(7)
    words = sorted(set(re.findall(r"[a-z]+", text.read_text(encoding="utf-8").lower())))
    words = rng.sample([w for w in words if len(w) > 1], 460) + rng.sample(names.read_text().split(), 140)
    words = INVENTED.split() + ["naïve", "don't"] + sorted(set(words))
    g2p = G2p()
    out.write_text("".join(f"{w}\t{' '.join(g2p.predict(w))}\n" for w in words), encoding="utf-8")
    print(len(words), "words")


main()
