"""Makes a tiny random checkpoint of each decoder architecture, twice, and what transformers computes from it.

    pip install transformers==5.24.0 torch gguf==0.19.0 safetensors
    python make_checkpoints.py [NAME ...]

Each folder holds what a repository of the Hugging Face hub would (config.json, tokenizer.json, tokenizer_config.json,
model.safetensors in bf16), the same weights as model.gguf in F32 with the names, keys and orders of llama.cpp's converter, and
    reference.json          texts and prompts with their tokens
    reference.safetensors   the logits of every position of every prompt in f32 (embedders: the vectors of texts)
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
LLAMA_3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN_2 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
BEFORE = r"[^\r\n\p{L}\p{N}]?"
GPT_4O = (
    f"{BEFORE}{UPPER}*{LOWER}+{CONTRACTIONS}?|{BEFORE}{UPPER}+{LOWER}*{CONTRACTIONS}?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = (
    f"{BEFORE}{UPPER}*{LOWER}+|{BEFORE}{UPPER}+{LOWER}*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# What the merges are learnt from.
CORPUS = [
    "Travel orders are signed by the head of department, who keeps the originals for the auditors.",
    "The office is open from nine to five; visitors sign in at the front desk and wear a badge.",
    "Las vacaciones se solicitan a la persona responsable del departamento, que las autoriza por escrito.",
    "El contrato se firma por duplicado y la fianza se devuelve al término del arrendamiento.",
    "In 2024 the limit was 1200 euros; since then it has been 1350.50, hotels and trains included.",
    "the the the and and of of to to in in que que de de la la los el en en",
] * 4

# Texts that tell the ways of splitting apart.
TEXTS = [
    "The head of department signs travel orders.",
    "Las vacaciones, ¿quién las autoriza? La señora Núñez.",
    "In 2024, 1234567 euros and 3.14; IT'S we'll THEY'VE don't",
    "camelCase HTTPServer ÉCOLE naïve Straße ǅ ﬁ e\u0301 ñ n\u0303",
    "  two  spaces   three\ttab\n\nlines\r\nmore \n  end  ",
    "path/to/file.txt //// --- *** \"quoted\" (brackets) [1] {x} a_b",
    "日本語 中文 한국어 العربية עברית ไทย हिन्दी 🙂👍🏽 \u200b \u00a0x",
    "<b>&amp;</b> def f(x):\n    return x  # comment\n",
    "",
    " ",
    "\n",
]


class ByteLevel:
    """A byte-level vocabulary as GPT-2's, split by an expression."""

    def __init__(self, pre, pattern, specials, added=(), begin=None, end=None, ignore_merges=False, compose=False):
        self.pre = pre
        self.begin, self.end = begin, end
        tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
        if compose:
            tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=256 + 48, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train_from_iterator(CORPUS, trainer)
        # In an order that does not change from run to run.
        tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in specials])
        tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
        if begin:
            one = processors.TemplateProcessing(
                single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, tokenizer.token_to_id(begin))]
            )
            tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), one])
        self.tokenizer = tokenizer

    def end_with(self, token):
        """Appends a token to every text, as embedders do."""
        one = processors.TemplateProcessing(
            single=f"$A {token}", pair=f"$A {token} $B {token}", special_tokens=[(token, self.tokenizer.token_to_id(token))]
        )
        self.tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), one])
        self.adds_end = True
        return self

    adds_end = False

    def write(self, writer):
        model = json.loads(self.tokenizer.to_str())
        vocabulary = {token: id for token, id in model["model"]["vocab"].items()}
        added = {token["content"]: token for token in model["added_tokens"]}
        vocabulary |= {content: token["id"] for content, token in added.items()}
        tokens = sorted(vocabulary, key=vocabulary.get)
        kind = gguf.TokenType
        kinds = [
            kind.NORMAL if token not in added else kind.CONTROL if added[token]["special"] else kind.USER_DEFINED
            for token in tokens
        ]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(self.pre)
        writer.add_token_list(tokens)
        writer.add_token_types(kinds)
        writer.add_token_merges([" ".join(merge) for merge in model["model"]["merges"]])
        write_ends(self, writer)


class SentencePiece:
    """A vocabulary of scored pieces, as llama.cpp and transformers read SentencePiece models."""

    pre = None
    adds_end = False

    def __init__(self, specials, added=(), begin="<s>", end="</s>", space_first=True, strips=False):
        self.begin, self.end = begin, end
        self.space_first = space_first
        learner = Tokenizer(models.BPE())
        learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
        learner.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=130, show_progress=False))
        learnt = json.loads(learner.to_str())["model"]
        joined = ["".join(merge) for merge in learnt["merges"]]
        pieces = list(dict.fromkeys(joined)) + ["▁▁", "▁▁▁▁"]
        characters = sorted(token for token in learnt["vocab"] if len(token) == 1)

        scored = [(token, 0.0, gguf.TokenType.CONTROL) for token in specials]
        scored += [(f"<0x{byte:02X}>", 0.0, gguf.TokenType.BYTE) for byte in range(256)]
        scored += [(piece, -float(rank), gguf.TokenType.NORMAL) for rank, piece in enumerate(pieces)]
        scored += [(c, -float(len(pieces) + rank), gguf.TokenType.NORMAL) for rank, c in enumerate(characters)]
        scored[specials.index("<unk>")] = ("<unk>", 0.0, gguf.TokenType.UNKNOWN)
        vocabulary = {token: id for id, (token, _, _) in enumerate(scored)}
        scores = {token: score for token, score, kind in scored if kind == gguf.TokenType.NORMAL}

        # Every way to make a piece of two, the best piece first, as transformers turns scores into merges.
        merges = []
        for piece, score in scores.items():
            cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
            cuts = [cut for cut in cuts if cut[0] in scores and cut[1] in scores]
            cuts.sort(key=lambda cut: (vocabulary[cut[0]], vocabulary[cut[1]]))
            merges += [(*cut, score) for cut in cuts]
        merges.sort(key=lambda merge: merge[2], reverse=True)
        model = models.BPE(
            vocabulary, [merge[:2] for merge in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True
        )
        tokenizer = Tokenizer(model)
        spaces = normalizers.Replace(" ", "▁")
        fused = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        if space_first:
            tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), spaces])
            tokenizer.decoder = decoders.Sequence(fused + [decoders.Strip(" ", 1, 0)])
        else:
            tokenizer.normalizer = spaces
            tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
            tokenizer.decoder = decoders.Sequence(fused)
        plain = {"<unk>", "<s>", "<|endoftext|>"}
        tokenizer.add_special_tokens(
            [AddedToken(token, normalized=False, rstrip=strips and token not in plain) for token in specials]
        )
        for token, special in added:
            more = AddedToken(token, normalized=False, special=special, rstrip=strips and special and token not in plain)
            (tokenizer.add_special_tokens if special else tokenizer.add_tokens)([more])
            kind = gguf.TokenType.CONTROL if special else gguf.TokenType.USER_DEFINED
            if token in vocabulary:
                scored[vocabulary[token]] = (token.replace("▁", " "), -1000.0, kind)
            else:
                scored.append((token.replace("▁", " "), -1000.0, kind))
        if begin:
            tokenizer.post_processor = processors.TemplateProcessing(
                single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, tokenizer.token_to_id(begin))]
            )
        self.tokenizer, self.scored = tokenizer, scored

    def write(self, writer):
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list([token for token, _, _ in self.scored])
        writer.add_token_scores([score for _, score, _ in self.scored])
        writer.add_token_types([kind for _, _, kind in self.scored])
        writer.add_unk_token_id(self.tokenizer.token_to_id("<unk>"))
        writer.add_add_space_prefix(self.space_first)
        write_ends(self, writer)


def write_ends(vocabulary, writer):
    if vocabulary.begin:
        writer.add_bos_token_id(vocabulary.tokenizer.token_to_id(vocabulary.begin))
    writer.add_eos_token_id(vocabulary.tokenizer.token_to_id(vocabulary.end))
    writer.add_add_bos_token(bool(vocabulary.begin))
    if vocabulary.adds_end:
        writer.add_add_eos_token(True)


LLAMA_SPECIALS = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
]  # fmt: skip
CHAT_ML = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PHI_4 = ["<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]

SIZES = {"hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"num_key_value_heads": 2, "max_position_embeddings": 96, "attention_dropout": 0.0}


def longrope(pairs, trained):
    return {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0 + 0.25 * i for i in range(pairs)],
        "long_factor": [1.5 + 1.5 * i for i in range(pairs)],
        "original_max_position_embeddings": trained,
    }


# Name, configuration, what it writes with, and the conversation-like prompt that shows its special tokens.
MODELS = {
    "llama": (
        transformers.LlamaConfig,
        SIZES
        | {
            "tie_word_embeddings": False,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        lambda: ByteLevel(
            "llama-bpe", LLAMA_3, LLAMA_SPECIALS, begin="<|begin_of_text|>", end="<|eot_id|>", ignore_merges=True
        ),
        "<|start_header_id|>user<|end_header_id|>\n\nWho signs?<|eot_id|>",
    ),
    "mistral": (
        transformers.MistralConfig,
        SIZES | {"sliding_window": 11, "tie_word_embeddings": True, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0},
        lambda: SentencePiece(["<unk>", "<s>", "</s>"]),
        "[INST] Who? [/INST] She.</s>[INST] And? [/INST]",
    ),
    "mistral-nemo": (
        transformers.MistralConfig,
        SIZES
        | {
            "head_dim": 12,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-5,
            "rope_theta": 1_000_000.0,
        },
        lambda: ByteLevel(
            "tekken", TEKKEN, ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"], begin="<s>", end="</s>", ignore_merges=True
        ),
        "[INST]Who signs?[/INST]The head.</s>[INST]And then?[/INST]",
    ),
    "smollm3": (
        transformers.SmolLM3Config,
        SIZES
        | {
            "num_hidden_layers": 5,
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-6,
            "rope_theta": 2_000_000.0,
            "no_rope_layer_interval": 4,
            "use_sliding_window": False,
        },
        lambda: ByteLevel("llama-bpe", LLAMA_3, CHAT_ML, end="<|im_end|>", ignore_merges=True),
        "<|im_start|>user\nWho signs?<|im_end|>\n<|im_start|>assistant\n",
    ),
    "qwen2": (
        transformers.Qwen2Config,
        SIZES
        | {
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000.0,
            "use_sliding_window": False,
            "sliding_window": 16,
            "max_window_layers": 1,
        },
        lambda: ByteLevel("qwen2", QWEN_2, CHAT_ML, ["<tool_call>", "</tool_call>"], end="<|im_end|>", compose=True),
        "<|im_start|>user\nWho signs?<|im_end|>\n<|im_start|>assistant\n<tool_call>",
    ),
    "qwen3": (
        transformers.Qwen3Config,
        SIZES
        | {
            "head_dim": 12,
            "tie_word_embeddings": False,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 100.0,
                "factor": 4.0,
                "beta_fast": 4.0,
                "beta_slow": 1.0,
                "original_max_position_embeddings": 24,
            },
        },
        lambda: ByteLevel("qwen2", QWEN_2, CHAT_ML, ["<think>", "</think>"], end="<|im_end|>", compose=True),
        "<|im_start|>user\nWho signs?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
    ),
    "phi3": (
        transformers.Phi3Config,
        SIZES
        | {
            "sliding_window": 17,
            "rms_norm_eps": 1e-5,
            "original_max_position_embeddings": 24,
            "rope_parameters": longrope(4, 24),
            "pad_token_id": None,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        lambda: SentencePiece(
            ["<unk>", "<s>", "</s>"],
            [(token, True) for token in PHI_4],
            begin=None,
            end="<|endoftext|>",
            strips=True,
        ),
        "<|user|>\n Who signs?<|end|>\n<|assistant|>\n",
    ),
    "phi4-mini": (
        transformers.Phi3Config,
        SIZES
        | {
            "tie_word_embeddings": True,
            "sliding_window": 262_144,
            "rms_norm_eps": 1e-5,
            "partial_rotary_factor": 0.75,
            "original_max_position_embeddings": 24,
            "rope_parameters": longrope(3, 24) | {"partial_rotary_factor": 0.75},
            "pad_token_id": None,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
        lambda: ByteLevel("gpt-4o", GPT_4O, PHI_4, end="<|endoftext|>"),
        "<|user|>Who signs?<|end|><|assistant|>",
    ),
    "gemma3": (
        transformers.Gemma3TextConfig,
        SIZES
        | {
            "num_hidden_layers": 4,
            "head_dim": 12,
            "query_pre_attn_scalar": 12,
            "sliding_window": 9,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1_000_000.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            },
        },
        lambda: SentencePiece(
            ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"],
            [("\n\n", False), ("▁▁", False), ("▁▁▁▁", False), ("<table>", False)],
            begin="<bos>",
            end="<eos>",
            space_first=False,
        ),
        "<start_of_turn>user\nWho signs?<end_of_turn>\n<start_of_turn>model\n",
    ),
    "qwen3-embedding": (
        transformers.Qwen3Config,
        SIZES
        | {"head_dim": 12, "tie_word_embeddings": True, "rms_norm_eps": 1e-6, "rope_theta": 1_000_000.0},
        lambda: ByteLevel("qwen2", QWEN_2, CHAT_ML, end="<|endoftext|>", compose=True).end_with("<|endoftext|>"),
        "Instruct: Find the passage\nQuery:Who signs?",
    ),
}

PROMPTS = [
    "The head of department signs travel orders; visitors wear a badge.",
    "¿Quién firma?",
]


def fill(model, generator):
    """Weights of sizes that make every part of the network matter."""
    for name, parameter in model.named_parameters():
        kind = name.rsplit(".", 2)[-2]
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in kind:
            centre = 0.0 if "gemma" in model.config.model_type else 1.0
            value = centre + 0.3 * noise
        elif name.endswith("bias"):
            value = 0.5 * noise
        elif "embed" in name:
            value = 0.5 * noise
        else:
            value = noise * 1.2 / parameter.shape[1] ** 0.5
        parameter.data.copy_(value.to(torch.bfloat16))


def main():
    for name in sys.argv[1:] or MODELS:
        make(name, *MODELS[name])


def make(name, config_class, settings, vocabulary, special_prompt):
    directory = HERE / name
    directory.mkdir(exist_ok=True)
    vocabulary = vocabulary()
    tokenizer = vocabulary.tokenizer
    ends = {"eos_token_id": tokenizer.token_to_id(vocabulary.end)}
    ends["bos_token_id"] = tokenizer.token_to_id(vocabulary.begin) if vocabulary.begin else None
    config = config_class(**(settings | {"vocab_size": tokenizer.get_vocab_size(), "pad_token_id": None} | ends))
    config._attn_implementation = "eager"
    embeds = name.endswith("embedding")
    model = (transformers.AutoModel if embeds else transformers.AutoModelForCausalLM).from_config(config)
    model = model.to(torch.float32).eval()
    fill(model, torch.Generator().manual_seed(sum(name.encode())))

    prompts = PROMPTS + [special_prompt]
    encoded = [tokenizer.encode(prompt).ids for prompt in prompts]
    results = {}
    for index, ids in enumerate(encoded):
        with torch.no_grad():
            output = model(torch.tensor([ids]))
        if embeds:
            vector = output.last_hidden_state[0, -1]
            results[str(index)] = torch.nn.functional.normalize(vector, dim=0)
        else:
            results[str(index)] = output.logits[0]
    save_file({key: value.contiguous() for key, value in results.items()}, directory / "reference.safetensors")
    reference = {
        "transformers": transformers.__version__,
        "prompts": [{"text": text, "tokens": ids} for text, ids in zip(prompts, encoded)],
        "texts": [{"text": text, "tokens": tokenizer.encode(text).ids} for text in TEXTS],
    }
    (directory / "reference.json").write_text(json.dumps(reference, ensure_ascii=False) + "\n")

    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    names = {"bos_token": vocabulary.begin, "eos_token": vocabulary.end}
    (directory / "tokenizer_config.json").write_text(json.dumps(names) + "\n")
    weights = {key: value.to(torch.bfloat16).contiguous() for key, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        weights.pop("lm_head.weight", None)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    (directory / "config.json").write_text(json.dumps(published(config, embeds), indent=1) + "\n")
    write_gguf(name, directory, config, weights, vocabulary)
    sizes = sum(file.stat().st_size for file in directory.iterdir())
    largest = [f"{value.abs().max():.2f}" for value in results.values()]
    print(f"{name}: {sizes // 1024} KiB, {[len(ids) for ids in encoded]} tokens, largest results {largest}")


def published(config, embeds):
    """config.json in the layout that most published models have: the base of rotary positions beside their scaling."""
    values = config.to_dict()
    values["architectures"] = [type(config).__name__.replace("Config", "Model" if embeds else "ForCausalLM")]
    rope = values.pop("rope_parameters", None) or {}
    if "full_attention" in rope:
        values["rope_theta"] = rope["full_attention"].pop("rope_theta")
        values["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        values["rope_scaling"] = rope["full_attention"]
    else:
        values["rope_theta"] = rope.pop("rope_theta")
        values["rope_scaling"] = rope if rope.get("rope_type", "default") != "default" else None
    if config.model_type == "smollm3":
        values.pop("no_rope_layer_interval", None)
    drop = ("transformers_version", "_name_or_path", "chunk_size_feed_forward", "id2label", "label2id")
    return {key: value for key, value in sorted(values.items()) if key not in drop}


def permuted(weights, heads):
    """Rows of queries or keys in the order for neighbours, as the converter puts Llama's (LlamaModel.permute)."""
    rows, columns = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(name, directory, config, weights, vocabulary):
    architecture = {"mistral": "llama", "gemma3_text": "gemma3"}.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(directory / "model.gguf", architecture)
    writer.add_name(name)
    head_length = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    rope = config.rope_parameters
    if architecture == "gemma3":
        local, rope = rope["sliding_attention"], rope["full_attention"]
        writer.add_rope_freq_base_swa(local["rope_theta"])
        # Not what the converter writes: the pattern of the published models, one in six, would need more layers.
        writer.add_sliding_window_pattern(3)
    writer.add_rope_freq_base(rope["rope_theta"])
    if getattr(config, "head_dim", None):
        writer.add_key_length(head_length)
        writer.add_value_length(head_length)
    rotated = int(head_length * rope.get("partial_rotary_factor", 1.0))
    if architecture != "gemma3":
        writer.add_rope_dimension_count(rotated)
    # llama.cpp's converter leaves Mistral's window out.
    if architecture in ("gemma3", "phi3", "llama") and getattr(config, "sliding_window", None):
        writer.add_sliding_window(config.sliding_window)
    match rope.get("rope_type"):
        case "linear":
            writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            writer.add_rope_scaling_factor(rope["factor"])
        case "yarn":
            writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            writer.add_rope_scaling_factor(rope["factor"])
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
            writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
            writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
        case "longrope":
            trained = rope["original_max_position_embeddings"]
            scale = config.max_position_embeddings / trained
            writer.add_rope_scaling_orig_ctx_len(trained)
            writer.add_rope_scaling_attn_factors(float(np.sqrt(1 + np.log(scale) / np.log(trained))))
            writer.add_tensor("rope_factors_long.weight", np.array(rope["long_factor"], dtype=np.float32))
            writer.add_tensor("rope_factors_short.weight", np.array(rope["short_factor"], dtype=np.float32))
        case "llama3":
            frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, rotated, 2, dtype=np.float32) / rotated)
            writer.add_tensor("rope_freqs.weight", llama3_factors(frequencies, rope))
    vocabulary.write(writer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.upper()], config.num_hidden_layers)
    for key, value in weights.items():
        tensor = value.to(torch.float32).numpy()
        if architecture in ("llama", "smollm3") and ".q_proj." in key:
            tensor = permuted(tensor, config.num_attention_heads)
        if architecture in ("llama", "smollm3") and ".k_proj." in key:
            tensor = permuted(tensor, config.num_key_value_heads)
        if architecture == "gemma3" and key.endswith("norm.weight"):
            tensor = tensor + 1
        key = key if key.startswith(("model.", "lm_head.")) else f"model.{key}"
        writer.add_tensor(names.get_name(key, try_suffixes=(".weight", ".bias")), tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama3_factors(frequencies, rope):
    """What frequencies are divided by, as the converter writes it (LlamaModel.generate_extra_tensors)."""
    trained, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    factors = []
    for frequency in frequencies:
        length = 2 * np.pi / frequency
        if length < trained / high:
            factors.append(1.0)
        elif length > trained / low:
            factors.append(factor)
        else:
            smooth = (trained / length - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return np.array(factors, dtype=np.float32)


if __name__ == "__main__":
    main()
