"""Validation loss, exact per token and in bounded memory.

Evaluation of a run: loss on all validation pairs, and optional sample answers.

Generation and scoring of answers to a sample of the validation questions (greedy decoding).

Memory is bounded: answers are generated one batch at a time, at most `MAX_NEW_TOKENS` each. Only
the first few texts are kept. Shapes: B batch, T generated tokens.

Sample of validation pairs to answer, and its distribution over processes.

Scores of a generated answer against the expected one.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Subset

from flant5_train.arguments import TrainingArguments
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.dataset import SupervisedDataset
from flant5_train.models.loss import IGNORED
from flant5_train.protocol.progress import Evaluated, Record, SampleAnswer, SampleAnswers
from flant5_train.training.callbacks.out_of_memory import explaining_evaluation_out_of_memory

_MAX_EXPONENT = 700.0
Batch = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Means over all target tokens of a data set."""

    loss: float
    token_accuracy: float
    """Share of tokens ranked most likely by the model, given the correct previous tokens."""
    num_tokens: int


def perplexity(loss: float) -> float:
    """Returns e to the power of a loss per token, capped to fit a float."""
    return math.exp(min(loss, _MAX_EXPONENT))


def validation_batches(
    dataset: SupervisedDataset, collator: DataCollatorForSupervisedDataset, *, batch_size: int
) -> DataLoader[Batch]:
    """Returns this process's share of the pairs; shares do not overlap."""
    size, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    own: Any = Subset(dataset, range(rank, len(dataset), size))
    return DataLoader(own, batch_size=batch_size, collate_fn=collator)


@torch.no_grad()
def evaluate_pairs(
    model: torch.nn.Module, batches: Iterable[Batch], *, device: torch.device
) -> Evaluation:
    """Returns the means over the batches of all processes, which call this together.

    Keeps only three sums, so memory does not grow with the data set.
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in batches:
        inputs = {name: value.to(device) for name, value in batch.items()}
        told = model(**inputs)
        sums[0] += told.loss
        sums[1] += told.num_right
        sums[2] += (inputs["labels"] != IGNORED).sum()
    model.train(was_training)
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(sums)
    loss, right, count = sums.tolist()
    return Evaluation(loss / count, right / count, int(count))


@dataclass(frozen=True, slots=True)
class Share:
    """The pairs that one process answers."""

    rows: tuple[int, ...]
    num_counted: int
    """Leading rows that count. A row after them is a filler: with sharding every process must call
    the model equally often."""


def sample_rows(num_pairs: int, *, count: int, seed: int) -> tuple[int, ...]:
    """Returns rows of a validation set: the same at each evaluation and for any number of
    processes."""
    chosen = np.random.default_rng(seed).permutation(num_pairs)[:count]
    return tuple(int(row) for row in chosen)


def share_of(rows: tuple[int, ...], *, process: int, num_processes: int) -> Share:
    """Returns the share of one process. All shares have the same length.

    share_of((5, 1, 4), process=1, num_processes=2) -> Share(rows=(1, 5), num_counted=1)
    """
    own = rows[process::num_processes]
    longest = -(-len(rows) // num_processes)
    return Share(own + rows[:1] * (longest - len(own)), len(own))


_WORD = re.compile(r"\w+")


def exact_match(given: str, expected: str) -> bool:
    """Returns True when the texts are equal apart from surrounding whitespace."""
    return given.strip() == expected.strip()


def rouge_l(given: str, expected: str) -> float:
    """Returns ROUGE-L: the F measure of the longest common subsequence of tokens.

    Tokens are runs of word characters in any script, compared in lower case. The original metric
    knows English only: an answer in Greek would score 0.

    rouge_l("The cat sat.", expected="the cat sat down") -> 0.857...
    """
    # Imported here: it takes most of a second, and few runs need it.
    from torchmetrics.functional.text import rouge_score

    scores = rouge_score(
        given, expected, rouge_keys="rougeL", normalizer=str.lower, tokenizer=_WORD.findall
    )
    return float(scores["rougeL_fmeasure"])


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


@dataclass(frozen=True, slots=True)
class Validation:
    """Result of an evaluation."""

    evaluation: Evaluation
    answers: AnswerScores | None

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics by their names in the Trainer's logs."""
        metrics = {
            "eval_loss": self.evaluation.loss,
            "eval_perplexity": perplexity(self.evaluation.loss),
            "eval_token_accuracy": self.evaluation.token_accuracy,
        }
        if self.answers is not None:
            metrics["eval_exact_match"] = self.answers.exact_match
            metrics["eval_rouge_l"] = self.answers.rouge_l
        return metrics

    def records(self, step: int) -> Iterator[Record]:
        yield Evaluated(step=step, eval_tokens=self.evaluation.num_tokens, **self.metrics)
        if self.answers is not None:
            yield SampleAnswers(
                step=step, num_answers=self.answers.num_answers, answers=self.answers.shown
            )


def validate(
    model: Any,
    dataset: SupervisedDataset,
    collator: DataCollatorForSupervisedDataset,
    *,
    args: TrainingArguments,
) -> Validation:
    """Evaluates the pairs of all processes, which call this together.

    Raises TrainingError if the GPU runs out of memory.
    """
    batches = validation_batches(dataset, collator, batch_size=args.eval_batch_size)
    num_samples = args.eval_generation_samples
    answers = None
    with explaining_evaluation_out_of_memory(args):
        evaluation = evaluate_pairs(model, batches, device=args.device)
        if num_samples:
            asking = AnswerEvaluation(
                dataset,
                collator,
                num_samples=num_samples,
                batch_size=args.eval_batch_size,
                seed=args.seed,
            )
            answers = asking.run(model, device=args.device)
    return Validation(evaluation, answers)
