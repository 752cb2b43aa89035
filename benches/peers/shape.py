"""Makes the 1B shape: a `llama` network of random weights, as large as Llama 3.2 1B with a vocabulary of 32,000.

What it writes is noise; what it costs to compute is what a real model of this shape costs. The same seed gives the same
file. The vocabulary is byte-level BPE: the bytes, then words of two to four small letters that merges can reach.
"""

import itertools
import string

import gguf
import numpy as np

SEED = 20_240
WIDTH, LAYERS, HEADS, KV_HEADS, FEED_FORWARD, VOCABULARY, CONTEXT = 2048, 16, 32, 8, 8192, 32_000, 4096
CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NORMAL, CONTROL = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def byte_characters():
    """GPT-2's printable character for each byte (`bytes_to_unicode` of its encoder.py)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = itertools.count(0x100)
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


def vocabulary():
    """Tokens and the merges that make them."""
    letters = string.ascii_lowercase
    merges = [(a, b) for a in letters for b in letters]
    pairs = [a + b for a, b in merges]
    merges += [(pair, letter) for pair in pairs for letter in letters]
    merges += list(itertools.product(pairs, pairs))
    merges = merges[: VOCABULARY - 256 - len(CONTROLS)]
    return byte_characters() + [a + b for a, b in merges] + CONTROLS, merges


def write(path):
    """Writes the network in f16 (norms in f32)."""
    tokens, merges = vocabulary()
    assert len(tokens) == len(set(tokens)) == VOCABULARY
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("1B shape, random weights")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_block_count(LAYERS)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(500_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL if token in CONTROLS else NORMAL for token in tokens])
    writer.add_token_merges([f"{a} {b}" for a, b in merges])
    writer.add_bos_token_id(VOCABULARY - len(CONTROLS))
    writer.add_eos_token_id(VOCABULARY - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    random = np.random.default_rng(SEED)

    def matrix(name, rows, columns):
        values = random.standard_normal((rows, columns), dtype=np.float32)
        values *= columns**-0.5
        if name == "output.weight":
            # The end of the text is never the likeliest token, so that every run writes as much as it is asked for.
            values[-len(CONTROLS) :] = 0.0
        writer.add_tensor(name, values.astype(np.float16))

    def ones(name):
        writer.add_tensor(name, np.ones(WIDTH, dtype=np.float32))

    keys = WIDTH // HEADS * KV_HEADS
    matrix("token_embd.weight", VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        at = f"blk.{layer}"
        ones(f"{at}.attn_norm.weight")
        matrix(f"{at}.attn_q.weight", WIDTH, WIDTH)
        matrix(f"{at}.attn_k.weight", keys, WIDTH)
        matrix(f"{at}.attn_v.weight", keys, WIDTH)
        matrix(f"{at}.attn_output.weight", WIDTH, WIDTH)
        ones(f"{at}.ffn_norm.weight")
        matrix(f"{at}.ffn_gate.weight", FEED_FORWARD, WIDTH)
        matrix(f"{at}.ffn_up.weight", FEED_FORWARD, WIDTH)
        matrix(f"{at}.ffn_down.weight", WIDTH, FEED_FORWARD)
    ones("output_norm.weight")
    matrix("output.weight", VOCABULARY, WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
