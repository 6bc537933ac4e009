"""Generation and scoring of answers to a sample of the validation questions (greedy decoding).

Memory is bounded: answers are generated one batch at a time, at most `MAX_NEW_TOKENS` each. Only
the first few texts are kept. Shapes: B batch, T generated tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from flant5_train.answers.sample import sample_rows, share_of
from flant5_train.answers.scores import exact_match, rouge_l
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.dataset import SupervisedDataset
from flant5_train.protocol.progress import SampleAnswer

MAX_NEW_TOKENS = 256
"""Limit of a generated answer. The expected answer is cut at the same length."""
NUM_SHOWN = 3
MAX_SHOWN_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """Means over the sample, and the first answers of this process."""

    exact_match: float
    rouge_l: float
    num_answers: int
    shown: tuple[SampleAnswer, ...]


class AnswerEvaluation:
    """Scores the answers to `num_samples` validation questions, in batches of `batch_size`."""

    def __init__(
        self,
        dataset: SupervisedDataset,
        collator: DataCollatorForSupervisedDataset,
        *,
        num_samples: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._dataset = dataset
        self._collator = collator
        self._batch_size = batch_size
        self._rows = sample_rows(len(dataset), count=num_samples, seed=seed)

    def run(self, model: Any, *, device: torch.device) -> AnswerScores:
        """Returns the scores over all processes. Every process must call it.

        `model` is a T5 or a wrapper of one, with a `generate` method.
        """
        size, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        share = share_of(self._rows, process=rank, num_processes=size)
        sums = torch.zeros(3, dtype=torch.float64)
        shown: list[SampleAnswer] = []
        was_training = model.training
        model.eval()
        for number, answer in enumerate(self._answers(model, share.rows, device)):
            if number < share.num_counted:
                sums += torch.tensor(
                    [
                        exact_match(answer.given, answer.expected),
                        rouge_l(answer.given, answer.expected),
                        1,
                    ]
                )
                if len(shown) < NUM_SHOWN:
                    shown.append(_cut(answer))
        model.train(was_training)
        sums = sums.to(device)
        if size > 1:
            dist.all_reduce(sums)
        exact, rouge, count = sums.tolist()
        return AnswerScores(exact / count, rouge / count, int(count), tuple(shown))

    def _answers(
        self, model: Any, rows: tuple[int, ...], device: torch.device
    ) -> Iterator[SampleAnswer]:
        decode = self._collator.tokenizer.decode
        for start in range(0, len(rows), self._batch_size):
            pairs = [self._dataset[row] for row in rows[start : start + self._batch_size]]
            given_BT = self._generate(model, pairs, device)
            for pair, given in zip(pairs, given_BT, strict=True):
                expected = pair["labels"][:MAX_NEW_TOKENS]
                yield SampleAnswer(
                    question=str(decode(pair["input_ids"], skip_special_tokens=True)),
                    expected=str(decode(expected, skip_special_tokens=True)),
                    given=str(decode(given, skip_special_tokens=True)),
                )

    def _generate(
        self, model: Any, pairs: list[dict[str, torch.Tensor]], device: torch.device
    ) -> torch.Tensor:
        batch = self._collator(pairs)
        configured = model.generation_config.max_new_tokens
        generated_BT: torch.Tensor = model.generate(
            input_ids=batch["input_ids"].to(device),
            attention_mask=batch["attention_mask"].to(device),
            max_new_tokens=min(MAX_NEW_TOKENS, configured or MAX_NEW_TOKENS),
            do_sample=False,
            num_beams=1,
            use_cache=True,
        )
        return generated_BT.cpu()


def _cut(answer: SampleAnswer) -> SampleAnswer:
    """Shortens the texts for display: the end of the question, the beginning of each answer."""
    question = answer.question
    if len(question) > MAX_SHOWN_CHARACTERS:
        question = "…" + question[-MAX_SHOWN_CHARACTERS:]
    return SampleAnswer(
        question=question, expected=_beginning(answer.expected), given=_beginning(answer.given)
    )


def _beginning(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "…"
