"""Writes a tiny random checkpoint of each encoder architecture and what Hugging Face transformers makes of it in f32.

    pip install torch transformers tokenizers safetensors
    python make.py

Each directory holds config.json, tokenizer.json and model.safetensors as on the hub: a sequence classifier with its
encoder inside, so that one checkpoint serves as embedder and as reranker. One has its encoder in pytorch_model.bin too, as
older models have. reference.json holds, for texts, the unit
vectors of mean and first-token pooling, and for pairs of texts the classifier's logit. Each text is computed alone, so
that there is no padding.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

HERE = pathlib.Path(__file__).parent
LONGEST = 40

TEXTS = [
    "The office is closed on the 24th of December.",
    "¿Cuántos días de vacaciones tengo?",
    "A laptop that is lost must be reported to IT at once, by telephone.",
    "camión, corazón, pingüino",
    "x",
    "",
    "The supplier shall deliver the goods to the address given in the order, at its own cost and risk, between eight in "
    "the morning and four in the afternoon of a working day, unless the parties agree otherwise in writing.",
]

PAIRS = [
    ("When is the office closed?", TEXTS[0]),
    ("¿Cuántos días?", TEXTS[1]),
    ("Who pays?", TEXTS[6]),
    ("x", "y"),
    ("", "x"),
]

SIZES = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
}


def word_piece(size):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    marks = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=marks
    )
    return tokenizer


def unigram(size):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    marks = [(name, tokenizer.token_to_id(name)) for name in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=marks
    )
    return tokenizer


def byte_level(size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    marks = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=marks
    )
    return tokenizer


CHECKPOINTS = {
    "bert": (
        word_piece(90),
        {
            "model_type": "bert",
            "architectures": ["BertForSequenceClassification"],
            "hidden_act": "gelu",
            "num_hidden_layers": 2,
            "intermediate_size": 64,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": LONGEST,
            "pad_token_id": 0,
            "position_embedding_type": "absolute",
            "type_vocab_size": 2,
        },
    ),
    "xlm-roberta": (
        unigram(80),
        {
            "model_type": "xlm-roberta",
            "architectures": ["XLMRobertaForSequenceClassification"],
            "bos_token_id": 0,
            "eos_token_id": 2,
            "hidden_act": "gelu",
            "num_hidden_layers": 2,
            "intermediate_size": 64,
            "layer_norm_eps": 1e-5,
            "max_position_embeddings": LONGEST + 2,
            "pad_token_id": 1,
            "position_embedding_type": "absolute",
            "type_vocab_size": 1,
        },
    ),
    "modernbert": (
        byte_level(280),
        {
            "model_type": "modernbert",
            "architectures": ["ModernBertForSequenceClassification"],
            "bos_token_id": 2,
            "classifier_activation": "gelu",
            "classifier_bias": False,
            "classifier_pooling": "mean",
            "cls_token_id": 2,
            "eos_token_id": 3,
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160000.0,
            "hidden_activation": "gelu",
            "num_hidden_layers": 3,
            "intermediate_size": 48,
            "local_attention": 8,
            "local_rope_theta": 10000.0,
            "max_position_embeddings": LONGEST,
            "norm_bias": False,
            "norm_eps": 1e-5,
            "pad_token_id": 0,
            "sep_token_id": 3,
        },
    ),
}


def unit(vector):
    return [round(x, 9) for x in torch.nn.functional.normalize(vector, dim=0).tolist()]


def make(name, tokenizer, config):
    directory = HERE / name
    directory.mkdir(exist_ok=True)
    # Training tokenizers is not reproducible: one that is there is kept.
    if (directory / "tokenizer.json").exists():
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    else:
        tokenizer.save(str(directory / "tokenizer.json"))
    config = {**SIZES, **config, "vocab_size": tokenizer.get_vocab_size()}
    (directory / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")

    # Weights of a size that makes every part count, where the usual first weights would leave it near nothing.
    torch.manual_seed(20)
    model = AutoModelForSequenceClassification.from_config(AutoConfig.from_pretrained(directory)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() == 1 and "norm" in key.lower() and key.endswith("weight"):
                parameter.copy_(1 + 0.2 * torch.randn(parameter.shape))
            elif parameter.dim() == 1:
                parameter.copy_(0.2 * torch.randn(parameter.shape))
            else:
                parameter.copy_(torch.randn(parameter.shape) * 1.4 / parameter.shape[-1] ** 0.5)
    tensors = {key: value.contiguous() for key, value in model.state_dict().items() if value.is_floating_point()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    if name == "xlm-roberta":
        torch.save(model.base_model.state_dict(), directory / "pytorch_model.bin")
    model = AutoModelForSequenceClassification.from_pretrained(directory, dtype=torch.float32).eval()

    fast = PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"))
    ask = {"return_tensors": "pt", "max_length": LONGEST, "return_token_type_ids": True}
    # Only BERT tells the texts of a pair apart.
    names = ["input_ids", "attention_mask"] + (["token_type_ids"] if name == "bert" else [])
    texts, pairs = [], []
    with torch.no_grad():
        for text in TEXTS:
            inputs = fast(text, truncation=True, **ask)
            states = model.base_model(**{key: inputs[key] for key in names}).last_hidden_state[0]
            texts.append({"text": text, "mean": unit(states.mean(0)), "cls": unit(states[0])})
        for query, passage in PAIRS:
            inputs = fast(query, passage, truncation="only_second", **ask)
            score = model(**{key: inputs[key] for key in names}).logits[0, 0].item()
            pairs.append({"query": query, "passage": passage, "score": score})
    return {"architecture": name, "texts": texts, "pairs": pairs}


def main():
    torch.set_num_threads(1)
    reference = [make(name, *parts) for name, parts in CHECKPOINTS.items()]
    whole = {"max_tokens": LONGEST, "dimensions": SIZES["hidden_size"], "checkpoints": reference}
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    (HERE / "reference.json").write_text(text.replace('{"', '\n{"') + "\n", "utf-8")


if __name__ == "__main__":
    main()
