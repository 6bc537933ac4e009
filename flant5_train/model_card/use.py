"""The part of a model card that shows how the model is loaded and asked."""

import pprint
from collections.abc import Iterator

from flant5_train.prompt import _form_qa

_QUESTION = "What is the capital of France?"
_WIDTH = 90

_CODE = """from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

directory = "."  # where this file is
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForSeq2SeqLM.from_pretrained(directory)
prompt = {prompt}
ids = model.generate(**tokenizer(prompt, return_tensors="pt"))
print(tokenizer.decode(ids[0], skip_special_tokens=True))"""


def usage() -> Iterator[str]:
    """With the prompt in the format the model was trained on, made by the same function."""
    yield "## Use"
    yield (
        "It needs nothing but `transformers`. The encoder reads the conversation so far in the"
        " format below, every turn on lines of its own; the decoder writes the next answer and a"
        " newline."
    )
    yield f"```python\n{_CODE.format(prompt=_literal(_prompt()))}\n```"
    yield (
        "A later question follows the answers before it: `### Human: ...`, a newline,"
        " `### Assistant: ...`, a newline, and so on; the last `### Assistant: ` with its space is"
        " the end. A system message stands in for the first sentence."
    )


def _prompt() -> str:
    turns = ({"from": "human", "value": _QUESTION}, {"from": "gpt", "value": "Paris."})
    (pair,) = _form_qa([turns])
    return pair.question


def _literal(text: str) -> str:
    """The text in Python's own notation, folded."""
    folded = pprint.pformat(text, width=_WIDTH)
    return folded.replace("\n ", "\n    ").replace("('", "(\n    '", 1)[:-1] + "\n)"
