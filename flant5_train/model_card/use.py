"""Usage section of the model card: how to load and prompt the model."""

import pprint
from collections.abc import Iterator

from flant5_train.data.prompt import _form_qa

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
        "Load the tokenizer with `AutoTokenizer`. `T5Tokenizer` loads it too, without an error, but"
        " splits text differently: answers get worse, and show `４` for four spaces, or `<0xD0>`"
        " for a part of a letter."
    ),
    "fastchat": (
        "Load the tokenizer with `AutoTokenizer`. `T5Tokenizer` misreads accents of decomposed text"
        " (NFD). FastChat's token for a space stands before the space of the next word: decoded"
        " text has two spaces between words."
    ),
}


def usage(tokenization: str) -> Iterator[str]:
    """Yields the paragraphs. The prompt comes from the function that also made the training
    prompts."""
    yield "## Use"
    yield (
        "Only `transformers` (4.46 or later, including 5) and `torch` are required. The encoder"
        " reads the conversation so far in the format below, with every turn on its own lines. The"
        " decoder writes the next answer and a newline."
    )
    yield f"```python\n{_CODE.format(prompt=_literal(_prompt()))}\n```"
    yield (
        "For a longer conversation, continue with `### Human: ...`, a newline,"
        " `### Assistant: ...`, a newline, and so on. The prompt ends with `### Assistant: `,"
        " including the space. A system message replaces the first sentence."
    )
    yield (
        "`tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)`"
        " builds this text from a list of messages. Pass the text to the tokenizer as above. With"
        " `tokenize=True` the `</s>` is missing that ended every question in training."
    )
    yield _T5_TOKENIZER[tokenization]
    yield (
        "Loading warns that `tie_word_embeddings=False` should be set, although `config.json` sets"
        " it. transformers 5 changes it to true for every T5, finds that the two layers differ, and"
        " leaves them untied. The warning is harmless. Before saving the model again with"
        " transformers 5, set `model.config.tie_word_embeddings = False`; otherwise transformers 4"
        " loads it wrongly."
    )
    yield (
        "Other runtimes (CTranslate2, ONNX, transformers.js, llama.cpp) need specific settings. See"
        " `docs/elsewhere.md` in flant5 for tested ones."
    )


def _prompt() -> str:
    turns = ({"from": "human", "value": _QUESTION}, {"from": "gpt", "value": "Paris."})
    (pair,) = _form_qa([turns])
    return pair.question


def _literal(text: str) -> str:
    """Returns the text as a Python literal, wrapped."""
    folded = pprint.pformat(text, width=_WIDTH)
    return folded.replace("\n ", "\n    ").replace("('", "(\n    '", 1)[:-1] + "\n)"
