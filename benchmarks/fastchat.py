"""Preprocesses a file as FastChat's train_flant5 does.

    python -m benchmarks.fastchat FILE VOCABULARY

Prints the same fields as `benchmarks.encode`. This reimplementation keeps FastChat's costs:

- The whole file is in memory, and so is every pair, as lists of Python numbers.
- The slow tokenizer checks each character for the start of an added token, one string at a time.
- Each conversation is tokenized twice: as a whole for its ids, and turn by turn (as padded tensors)
  for the positions of the answers.

A test shows that the pairs equal those of our own `fastchat` tokenization.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path

from transformers import AddedToken
from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

from benchmarks.memory import private_memory
from benchmarks.stopwatch import Stopwatch
from flant5_train.data.prompt import SYSTEM
from flant5_train.models.tokenizer import FASTCHAT_PAD, FASTCHAT_TOKENS, SENTENCEPIECE_FILE

_SENTINELS = [f"<extra_id_{number}>" for number in range(100)]


@dataclass(frozen=True, slots=True)
class Pairs:
    """FastChat's training data, all of it in memory."""

    questions: list[list[int]]
    answers: list[list[int]]


def slow_tokenizer(vocabulary: Path, *, max_tokens: int) -> SentencePieceBackend:
    """Returns the slow T5 tokenizer of transformers 4, with FastChat's tokens."""
    tokenizer = SentencePieceBackend(
        vocab_file=str(vocabulary / SENTENCEPIECE_FILE),
        special_tokens_pattern="eos",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        additional_special_tokens=[*reversed(_SENTINELS)],
        model_max_length=max_tokens,
    )
    tokenizer.add_special_tokens({"pad_token": FASTCHAT_PAD})
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in FASTCHAT_TOKENS])
    return tokenizer


def preprocess(file: Path, tokenizer: SentencePieceBackend) -> Pairs:
    """Returns the pairs of a ShareGPT array."""
    talks = json.loads(file.read_text(encoding="utf-8"))
    texts = [_turns_with_markers(talk["conversations"]) for talk in talks]
    whole = tokenizer(["".join(turns) for turns in texts], truncation=False)["input_ids"]
    questions: list[list[int]] = []
    answers: list[list[int]] = []
    for turns, ids in zip(texts, whole, strict=True):
        lengths = [_num_tokens(turn, tokenizer) for turn in turns]
        ends = [*accumulate(lengths)]
        for at in range(2, len(turns), 2):
            begin, end = ends[at - 1], ends[at]
            eos = ids[-1:]
            first = max(0, begin - tokenizer.model_max_length)
            questions.append(ids[first:begin] + eos)
            answers.append(ids[begin : min(end, begin + tokenizer.model_max_length)] + eos)
    return Pairs(questions, answers)


def _num_tokens(turn: str, tokenizer: SentencePieceBackend) -> int:
    """Returns the number of tokens, without the EOS that the tokenizer appends to each turn."""
    encoded = tokenizer(
        turn,
        return_tensors="pt",
        padding="longest",
        max_length=tokenizer.model_max_length,
        truncation=True,
    )
    return int(encoded["input_ids"][0].ne(tokenizer.pad_token_id).sum().item()) - 1


def _turns_with_markers(turns: Sequence[Mapping[str, str]]) -> list[str]:
    marked = [f"{SYSTEM}\n\n"]
    for turn in turns:
        is_human = turn["from"] == "human"
        marked.append(
            f"### Human: {turn['value']}\n### Assistant: " if is_human else f"{turn['value']}\n"
        )
    return marked


def main(file: str, vocabulary: str) -> None:
    tokenizer = slow_tokenizer(Path(vocabulary), max_tokens=2048)
    before = private_memory()
    watch = Stopwatch()
    pairs = preprocess(Path(file), tokenizer)
    spent = watch.lap()
    used = private_memory() - before
    num_tokens = sum(len(answer) for answer in pairs.answers)
    print(json.dumps({**asdict(spent), "data_bytes": used, "target_tokens": num_tokens}))


if __name__ == "__main__":
    main(*sys.argv[1:])
