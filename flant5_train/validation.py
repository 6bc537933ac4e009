"""Evaluation of a run: loss on all validation pairs, and optional sample answers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flant5_train.answers.evaluation import AnswerEvaluation, AnswerScores
from flant5_train.arguments import TrainingArguments
from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.dataset import SupervisedDataset
from flant5_train.protocol.progress import Evaluated, Record, SampleAnswers
from flant5_train.training.callbacks.out_of_memory import explaining_evaluation_out_of_memory
from flant5_train.training.evaluation import (
    Evaluation,
    evaluate_pairs,
    perplexity,
    validation_batches,
)


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
