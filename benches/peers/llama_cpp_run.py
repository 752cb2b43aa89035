"""Runs llama.cpp once and prints what it took as one JSON line.

What is timed is llama.cpp's own C interface, called as its llama-bench does: no text is made and Python does nothing
between the steps but choosing the likeliest token with llama.cpp's own sampler.
"""

import argparse
import ctypes
import json
import sys
import time

import llama_cpp as ll

LOG = ll.llama_log_callback(lambda level, text, data: None)


class Model:
    """A loaded model with a context."""

    def __init__(self, path, threads, context, sequences=1):
        ll.llama_log_set(LOG, ctypes.c_void_p(0))
        ll.llama_backend_init()
        started = time.perf_counter()
        self.model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama.cpp cannot load {path}")
        params = ll.llama_context_default_params()
        params.n_ctx = context * sequences
        params.n_batch = params.n_ubatch = 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        self.context = ll.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit(f"llama.cpp cannot make a context for {path}")
        self.vocabulary = ll.llama_model_get_vocab(self.model)
        self.sampler = ll.llama_sampler_init_greedy()
        self.batch = ll.llama_batch_init(512, 0, 1)
        self.loaded = started

    def forward(self, entries):
        """Computes (token, position, sequence, wanted) entries, 512 at a time."""
        for at in range(0, len(entries), 512):
            part = entries[at : at + 512]
            batch = self.batch
            batch.n_tokens = len(part)
            for i, (token, position, sequence, wanted) in enumerate(part):
                batch.token[i], batch.pos[i] = token, position
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
                batch.logits[i] = wanted
            if ll.llama_decode(self.context, batch) != 0:
                sys.exit("llama.cpp failed while computing")

    def greedy(self, index=-1):
        """The likeliest token after the entry at this place of the last batch."""
        return ll.llama_sampler_sample(self.sampler, self.context, index)

    def prefill(self, tokens, sequence=0, start=0):
        """Computes a prompt from `start` on and returns the first token after it."""
        entries = [(t, i, sequence, i + 1 == len(tokens)) for i, t in enumerate(tokens)][start:]
        self.forward(entries)
        return self.greedy()

    def clear(self):
        """Forgets all sequences."""
        ll.llama_memory_clear(ll.llama_get_memory(self.context), True)

    def forget(self, position):
        """Forgets what stands at a position and after it."""
        ll.llama_memory_seq_rm(ll.llama_get_memory(self.context), 0, position, -1)

    def tokenize(self, text):
        """Tokens of a prompt, special ones honoured."""
        data = text.encode()
        room = (ll.llama_token * (len(data) + 8))()
        count = ll.llama_tokenize(self.vocabulary, data, len(data), room, len(room), True, True)
        return list(room[:count])


def made_up(count, seed):
    """Tokens of a prompt; what they say does not matter for the time."""
    return [300 + (seed * 7919 + i * 101) % 20_000 for i in range(count)]


def generate(args):
    """Load to first token; then, warm, a prompt and tokens after it, one by one."""
    model = Model(args.model, args.threads, args.prompt + args.decode + 8)
    model.prefill(made_up(8, 0))
    first_token_ms = 1000 * (time.perf_counter() - model.loaded)
    model.clear()
    model.prefill(made_up(args.prompt, 1))
    model.clear()
    tokens = made_up(args.prompt, 2)
    started = time.perf_counter()
    token = model.prefill(tokens)
    prefilled = time.perf_counter()
    for position in range(args.prompt, args.prompt + args.decode):
        model.forward([(token, position, 0, True)])
        token = model.greedy()
    done = time.perf_counter()
    return {
        "first_token_ms": first_token_ms,
        "prefill_tokens_per_s": args.prompt / (prefilled - started),
        "decode_tokens_per_s": args.decode / (done - prefilled),
    }


def clients(args):
    """Tokens of several sequences, a step for all of them at a time."""
    model = Model(args.model, args.threads, args.prompt + args.decode + 8, args.clients)
    tokens = [model.prefill(made_up(args.prompt, client), client) for client in range(args.clients)]
    started = time.perf_counter()
    for position in range(args.prompt, args.prompt + args.decode):
        model.forward([(token, position, client, True) for client, token in enumerate(tokens)])
        tokens = [model.greedy(client) for client in range(args.clients)]
    return {"clients_tokens_per_s": args.clients * args.decode / (time.perf_counter() - started)}


def answers(args):
    """The prompts of a file, each with as many tokens after it as the file says; with and without keeping the
    beginning that a prompt shares with the one before it, as llama-server keeps it."""
    with open(args.answers, encoding="utf-8") as lines:
        asked = [json.loads(line) for line in lines]
    model = Model(args.model, args.threads, 8192)
    model.prefill(made_up(64, 1))
    model.clear()
    prompts = [model.tokenize(one["prompt"]) for one in asked]
    figures = {"prompt_tokens": sum(map(len, prompts)), "completion_tokens": sum(o["completion_tokens"] for o in asked)}
    for name, keep in [("plain_s", False), ("kept_prefix_s", True)]:
        before = []
        started = time.perf_counter()
        for tokens, one in zip(prompts, asked):
            common = 0
            while keep and common < min(len(before), len(tokens) - 1) and before[common] == tokens[common]:
                common += 1
            model.forget(common)
            token = model.prefill(tokens, start=common)
            for position in range(len(tokens), len(tokens) + one["completion_tokens"] - 1):
                model.forward([(token, position, 0, True)])
                token = model.greedy()
            before = tokens
        figures[name] = time.perf_counter() - started
        model.clear()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=["generate", "clients", "answers"])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--answers")
    args = parser.parse_args()
    print(json.dumps({"generate": generate, "clients": clients, "answers": answers}[args.work](args)))


if __name__ == "__main__":
    main()
