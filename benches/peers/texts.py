"""Makes the texts that are embedded: common words, each one token of the embedder's vocabulary, from a fixed seed."""

import json
import random
from pathlib import Path

SPECIAL = 2
SEED = 7
# Texts and their length in tokens, [CLS] and [SEP] counted.
SETS = {"32x128": lambda r: [128] * 32, "32x256": lambda r: [256] * 32}
# Lengths of short titles and long passages alike, each octave as frequent as the next.
SETS["mixed"] = lambda r: [round(2 ** r.uniform(3, 8)) for _ in range(128)]


def write(tokenizer, directory):
    """Writes one file for each set, a text a line."""
    vocabulary = json.loads(Path(tokenizer).read_text(encoding="utf-8"))["model"]["vocab"]
    words = sorted(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2)
    for name, lengths in SETS.items():
        chosen = random.Random(SEED)
        texts = [" ".join(chosen.choices(words, k=length - SPECIAL)) for length in lengths(chosen)]
        (Path(directory) / f"{name}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
