"""Uses exported directories as a stranger would: `python uses_exports.py QUESTION`, a JSON file.

Runs in environments that have `transformers`, of any version, and nothing of ours. Prints JSON.
"""

import contextlib
import io
import json
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

QUESTION = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))


def card_answer(directory: str) -> str:
    """What the program in the model card prints."""
    card = (Path(directory) / "README.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
    os.chdir(directory)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "the card's program", "exec"), {})
    return printed.getvalue()


def rendered(tokenizer: Any, messages: list[dict[str, Any]]) -> dict[str, Any]:
    asks = messages[-1]["role"] == "user"
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)
    return {"text": text, "ids": tokenizer(text)["input_ids"]}


def refused(tokenizer: Any, messages: list[dict[str, Any]]) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False))
    except Exception as error:  # noqa: BLE001 - of jinja2, which this program does not know
        return f"{type(error).__name__}: {error}"


def answers(model: Any, tokenizer: Any) -> list[str]:
    found = []
    for prompt in QUESTION["prompts"]:
        ids = model.generate(**tokenizer(prompt, return_tensors="pt"))
        found.append(tokenizer.decode(ids[0], skip_special_tokens=True))
    return found


def used(directory: str) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(directory)
    slow = AutoTokenizer.from_pretrained(directory, use_fast=False)
    model = AutoModelForSeq2SeqLM.from_pretrained(directory)
    with torch.no_grad():
        encoded = tokenizer("Hi there", return_tensors="pt")
        output = model(**encoded, decoder_input_ids=torch.tensor([[0, 5]]))
    return {
        "card": card_answer(directory),
        "keys": [*encoded],
        "has_cache": output.past_key_values is not None,
        "ids": [tokenizer(text)["input_ids"] for text in QUESTION["texts"]],
        "slow_ids": [slow(text)["input_ids"] for text in QUESTION["texts"]],
        "decoded": [
            tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True)
            for text in QUESTION["texts"]
        ],
        "rendered": [rendered(tokenizer, each) for each in QUESTION["conversations"]],
        "refused": [refused(tokenizer, each) for each in QUESTION["refused"]],
        "answers": answers(model, tokenizer),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    found = {name: used(directory) for name, directory in QUESTION["directories"].items()}
    sys.stdout.write(json.dumps({"version": transformers.__version__, "found": found}))


if __name__ == "__main__":
    main()
