"""Renders conversations.json with every template through transformers, into templates.json.

    pip install transformers==5.24.0 jinja2
    python make_templates.py

The date is fixed, as in the test. Models that can think aloud are told not to, as the product does.
"""

import datetime
import json
from pathlib import Path

import transformers
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = Path(__file__).parent

# Of the tokens that begin and end a text, as the models' configurations name them.
SPECIALS = {
    "gemma-3": ("<bos>", "<eos>"),
    "llama-3.2": ("<|begin_of_text|>", "<|eot_id|>"),
    "mistral-7b-v0.1": ("<s>", "</s>"),
    "mistral-nemo": ("<s>", "</s>"),
    "phi-3.5": ("<s>", "<|endoftext|>"),
    "phi-4-mini": ("<|endoftext|>", "<|endoftext|>"),
    "qwen2.5": (None, "<|im_end|>"),
    "qwen3": (None, "<|im_end|>"),
    "smollm2": ("<|im_start|>", "<|im_end|>"),
    "smollm3": (None, "<|im_end|>"),
}


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 10, 30, 0)


def main():
    chat_template_utils.datetime = FixedDate
    conversations = json.loads((HERE / "conversations.json").read_text())
    rendered = []
    for name, (begin, end) in SPECIALS.items():
        template = (HERE / "templates" / f"{name}.jinja").read_text()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), bos_token=begin, eos_token=end)
        prompts = {}
        for conversation in conversations:
            try:
                prompts[conversation["id"]] = tokenizer.apply_chat_template(
                    conversation["messages"],
                    chat_template=template,
                    tokenize=False,
                    add_generation_prompt=True,
                    enable_thinking=False,
                )
            except Exception as error:
                # Templates refuse what their models do not know, a system's message say.
                print(f"{name}, {conversation['id']}: {error}")
                prompts[conversation["id"]] = None
        rendered.append({"template": name, "begin": begin or "", "end": end or "", "prompts": prompts})
    result = {"transformers": transformers.__version__, "unix_seconds": 1_772_879_400, "templates": rendered}
    (HERE / "templates.json").write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
