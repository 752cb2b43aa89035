"""Runs a sentence embedder in ONNX Runtime over the texts of a file, one a line, and prints what it took as one JSON line.

Texts go in sorted by length, 32 at a time, padded to the longest of their batch: what sentence-transformers does.
"""

import argparse
import json
import time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

BATCH = 32
LONGEST = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("graph")
    parser.add_argument("tokenizer")
    parser.add_argument("texts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=1, help="passes; the median counts")
    parser.add_argument("--vectors", help="write the vectors to this file, a JSON line each")
    args = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(args.graph, options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(args.tokenizer)
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    with open(args.texts, encoding="utf-8") as lines:
        texts = lines.read().splitlines()

    def embed(texts):
        encoded = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        vectors = [None] * len(encoded)
        for at in range(0, len(order), BATCH):
            chosen = order[at : at + BATCH]
            longest = len(encoded[chosen[-1]])
            ids = np.zeros((len(chosen), longest), dtype=np.int64)
            mask = np.zeros_like(ids)
            for row, i in enumerate(chosen):
                ids[row, : len(encoded[i])] = encoded[i]
                mask[row, : len(encoded[i])] = 1
            (output,) = session.run(["vectors"], {"input_ids": ids, "attention_mask": mask})
            for i, vector in zip(chosen, output):
                vectors[i] = vector
        return sum(map(len, encoded)), vectors

    tokens, vectors = embed(texts)
    took = []
    for _ in range(args.repeat):
        started = time.perf_counter()
        embed(texts)
        took.append(time.perf_counter() - started)
    seconds = sorted(took)[len(took) // 2]
    if args.vectors:
        with open(args.vectors, "w", encoding="utf-8") as out:
            out.writelines(json.dumps([float(x) for x in vector]) + "\n" for vector in vectors)
    print(json.dumps({"tokens_per_s": tokens / seconds, "vectors_per_s": len(texts) / seconds, "tokens": tokens}))


if __name__ == "__main__":
    main()
