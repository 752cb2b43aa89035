"""Makes the files that are measured, those that are missing: prepare.py INSTALLED_MODELS DIRECTORY."""

import sys
from pathlib import Path

import bert_onnx
import onnx
import quantise
import shape
import texts

STARTER = "SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDER = "all-MiniLM-L6-v2"


def prepare(installed, directory):
    """Everything but the installed models' own files is made here, from them or from a fixed seed."""
    directory.mkdir(parents=True, exist_ok=True)
    starter, whole = directory / "smollm2-135m-q4_1.gguf", directory / "1b-f16.gguf"
    for link, target in [(starter, STARTER), (directory / "minilm", EMBEDDER)]:
        link.unlink(missing_ok=True)
        link.symlink_to(installed / target)
    made = [
        (starter, directory / "smollm2-135m-q8_0.gguf", "Q8_0"),
        (whole, directory / "1b-q4_k_m.gguf", "Q4_K_M"),
        (whole, directory / "1b-q8_0.gguf", "Q8_0"),
    ]
    for source, target, coding in made:
        if target.exists():
            continue
        if source == whole and not whole.exists():
            partial = directory / "1b-f16.gguf.partial"
            shape.write(partial)
            partial.rename(whole)
        quantise.quantise(str(source), str(target), coding)
    # Two gigabytes that only the quantiser reads.
    whole.unlink(missing_ok=True)
    onnx.save(bert_onnx.build(directory / "minilm"), directory / "minilm.onnx")
    texts.write(directory / "minilm" / "tokenizer.json", directory)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
