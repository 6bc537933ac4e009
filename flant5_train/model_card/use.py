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


_T5_TOKENIZER = {
    "lossless": (
        "The tokenizer is loaded by `AutoTokenizer`. `T5Tokenizer` loads it too, without an error,"
        " and cuts other pieces: answers get worse, and show `４` for four spaces, or `<0xD0>` for"
        " a part of a letter."
    ),
    "fastchat": (
        "The tokenizer is loaded by `AutoTokenizer`. `T5Tokenizer` reads accents of decomposed text"
        " (NFD) wrong. FastChat's token for a space stands before the space of the next word:"
        " decoded text has two spaces between words."
    ),
}


def usage(tokenization: str) -> Iterator[str]:
    """With the prompt in the format the model was trained on, made by the same function."""
    yield "## Use"
    yield (
        "It needs nothing but `transformers` (4.46 or later, 5 too) and `torch`. The encoder reads"
        " the conversation so far in the format below, every turn on lines of its own; the decoder"
        " writes the next answer and a newline."
    )
    yield f"```python\n{_CODE.format(prompt=_literal(_prompt()))}\n```"
    yield (
        "A later question follows the answers before it: `### Human: ...`, a newline,"
        " `### Assistant: ...`, a newline, and so on; the last `### Assistant: ` with its space is"
        " the end. A system message stands in for the first sentence."
    )
    yield (
        "`tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)`"
        " makes that text of a list of messages. Give the text to the tokenizer as above: with"
        " `tokenize=True` the `</s>` is missing that ended every question in training."
    )
    yield _T5_TOKENIZER[tokenization]
    yield (
        "Loading prints that `tie_word_embeddings=False` should be set, though `config.json` says"
        " so: transformers 5 sets it to true for every T5, sees that the two layers differ, and"
        " leaves them apart. The message is harmless. Before the model is saved again with"
        " transformers 5, set `model.config.tie_word_embeddings = False`, or transformers 4 reads"
        " it wrong."
    )
    yield (
        "Other runtimes (CTranslate2, ONNX, transformers.js, llama.cpp) need settings of their own:"
        " `docs/elsewhere.md` of flant5 has what was tried."
    )


def _prompt() -> str:
    turns = ({"from": "human", "value": _QUESTION}, {"from": "gpt", "value": "Paris."})
    (pair,) = _form_qa([turns])
    return pair.question


def _literal(text: str) -> str:
    """The text in Python's own notation, folded."""
    folded = pprint.pformat(text, width=_WIDTH)
    return folded.replace("\n ", "\n    ").replace("('", "(\n    '", 1)[:-1] + "\n)"
