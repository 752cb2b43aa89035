"""Runs llama.cpp, ONNX Runtime and Intramuros in turn on the same files and threads and prints how they compare.

Each measurement is a process of its own; peer and Intramuros take turns, so that a slow minute of the machine meets
both. A ratio is of two neighbours in time, above 1 where Intramuros is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
GENERATORS = [
    ("starter Q4_1", "smollm2-135m-q4_1.gguf"),
    ("starter Q8_0", "smollm2-135m-q8_0.gguf"),
    ("1B shape Q4_K_M", "1b-q4_k_m.gguf"),
    ("1B shape Q8_0", "1b-q8_0.gguf"),
]
TEXTS = ["32x128", "32x256", "mixed"]
LOADED = "1b-q4_k_m.gguf"
CLIENTS, CLIENT_TOKENS = 8, 128
PARTS = 4


def run(command, threads, environment=None):
    """What a command prints as JSON; it sees only the first processors."""
    allowed = sorted(os.sched_getaffinity(0))[:threads]
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), **(environment or {})},
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    return json.loads(done.stdout)


class Table:
    """Rows of a peer's figure, ours, and their ratio, each as minimum, median and maximum."""

    def __init__(self):
        self.rows = []

    def add(self, what, unit, pairs, lower_is_better=False):
        """`pairs` of the peer's figure and ours, one a round."""
        ratios = [theirs / ours if lower_is_better else ours / theirs for theirs, ours in pairs]
        row = [what, unit]
        for values, form in [([p for p, _ in pairs], number), ([o for _, o in pairs], number), (ratios, "{:.2f}".format)]:
            row.append(" / ".join(form(x) for x in (min(values), statistics.median(values), max(values))))
        self.rows.append(row)
        print("  ".join(row), file=sys.stderr, flush=True)

    def __str__(self):
        heading = ["", "unit", "peer (min / median / max)", "Intramuros", "ratio"]
        lines = [heading, ["---"] * len(heading), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value):
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def generators(args, table):
    llama = [sys.executable, HERE / "llama_cpp_run.py"]
    for name, file in GENERATORS:
        path, prefill, decode, together, first = args.models / file, [], [], [], []
        for _ in range(args.rounds):
            theirs = run([*llama, "generate", path, "--threads", args.threads], args.threads)
            common = [args.binary, "bench", "--json", "--rounds", 1, "--only", "generator", "--generator", path]
            ours = run([*common, "--clients", 0], args.threads)["generator"]
            prefill.append((theirs["prefill_tokens_per_s"], ours["prefill_tokens_per_s"]["median"]))
            decode.append((theirs["decode_tokens_per_s"], ours["decode_tokens_per_s"]["median"]))
            first.append((theirs["first_token_ms"], ours["first_token_ms"]))
            if args.clients:
                sizes = ["--prompt", CLIENT_TOKENS, "--decode", CLIENT_TOKENS, "--clients", CLIENTS]
                theirs = run([*llama, "clients", path, "--threads", args.threads, *sizes], args.threads)
                ours = run([*common, "--clients", CLIENTS, "--prompt-tokens", 64], args.threads)["generator"]["clients"]
                together.append((theirs["clients_tokens_per_s"], ours["tokens_per_s"]["median"]))
        table.add(f"{name}, prompt of 512", "tokens/s", prefill)
        table.add(f"{name}, 64 tokens after it", "tokens/s", decode)
        if together:
            table.add(f"{name}, {CLIENTS} at once", "tokens/s", together)
        if file == LOADED:
            table.add(f"{name}, load to first token", "ms", first, lower_is_better=True)


def embedders(args, table):
    graph, tokenizer = args.models / "minilm.onnx", args.models / "minilm" / "tokenizer.json"
    for name in TEXTS:
        texts = args.models / f"{name}.txt"
        pairs = {precision: [] for precision in args.precisions}
        for _ in range(args.rounds):
            onnx = [sys.executable, HERE / "onnx_run.py", graph, tokenizer, texts, "--repeat", 3]
            theirs = run([*onnx, "--threads", args.threads], args.threads)["vectors_per_s"]
            for precision in args.precisions:
                command = [args.binary, "bench", "--json", "--only", "embedder", "--texts", texts]
                ours = run(command, args.threads, {"INTRAMUROS_MODELS__PRECISION": precision})
                pairs[precision].append((theirs, ours["embedder"]["sets"][0]["vectors_per_s"]["median"]))
        for precision, rounds in pairs.items():
            table.add(f"MiniLM {name}, {precision} to f32", "texts/s", rounds)


def vectors_agree(args):
    """Least cosine between ONNX Runtime's vectors and ours, f32."""
    with tempfile.TemporaryDirectory() as directory:
        theirs, ours = Path(directory) / "theirs", Path(directory) / "ours"
        texts, models = args.models / "mixed.txt", args.models
        onnx = [sys.executable, HERE / "onnx_run.py", models / "minilm.onnx", models / "minilm" / "tokenizer.json", texts]
        run([*onnx, "--vectors", theirs], args.threads)
        command = [args.binary, "bench", "--json", "--rounds", 1, "--only", "embedder", "--texts", texts]
        run([*command, "--vectors", ours], args.threads, {"INTRAMUROS_MODELS__PRECISION": "f32"})
        read = lambda path: [json.loads(line) for line in path.read_text().splitlines()]
        # Both are of unit length.
        return min(sum(a * b for a, b in zip(x, y)) for x, y in zip(read(theirs), read(ours), strict=True))


def answers(args, table):
    """Our own prompts and as many tokens as we wrote, read and written by llama.cpp; a part of the questions a round."""
    plain, kept = [], []
    with tempfile.TemporaryDirectory() as directory:
        prompts = Path(directory) / "prompts.jsonl"
        for part in range(1, PARTS + 1):
            command = [args.binary, "bench", "--json", "--data-dir", Path(directory) / "data", "--answers", args.answers]
            command += ["--questions", args.questions, "--part", f"{part}/{PARTS}", "--prompts", prompts]
            ours = run(command, args.threads)["answers"]
            llama = [sys.executable, HERE / "llama_cpp_run.py", "answers", args.models / GENERATORS[0][1]]
            theirs = run([*llama, "--threads", args.threads, "--answers", prompts], args.threads)
            print(json.dumps({"ours": ours, "theirs": theirs}), file=sys.stderr, flush=True)
            plain.append((theirs["plain_s"], ours["generator_s"]))
            kept.append((theirs["kept_prefix_s"], ours["generator_s"]))
    what = f"{args.questions} cited answers, a quarter a round"
    table.add(what, "s", plain, lower_is_better=True)
    table.add(f"{what}, llama.cpp keeping shared beginnings", "s", kept, lower_is_better=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", type=Path, required=True, help="the intramuros to measure")
    parser.add_argument("--models", type=Path, required=True, help="where the files are that prepare.py made")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precisions", nargs="*", default=["f32", "int8"], help="of our embedder")
    parser.add_argument("--answers", type=Path, help="evaluation folder for whole answers")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--no-clients", dest="clients", action="store_false")
    parser.add_argument("--only", nargs="*", default=["generators", "embedders", "answers"])
    args = parser.parse_args()
    table = Table()
    if "generators" in args.only:
        generators(args, table)
    if "embedders" in args.only:
        embedders(args, table)
        print(f"least cosine between the vectors of both in f32: {vectors_agree(args):.6f}")
    if "answers" in args.only and args.answers:
        answers(args, table)
    print(table)


if __name__ == "__main__":
    main()
