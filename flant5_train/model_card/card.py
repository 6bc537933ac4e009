"""Writes the model card of a finished model: `README.md` and `loss.png`."""

import json
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from flant5_train.model_card.history import History
from flant5_train.model_card.markdown import escaped, table
from flant5_train.model_card.told import Told
from flant5_train.model_card.use import usage
from flant5_train.protocol.progress import Evaluated, ModelSaved
from flant5_train.resume.record import as_lines

README = "README.md"
CURVES = "loss.png"

_COUNTS = {
    "conversations": "conversations",
    "pairs": "question-answer pairs",
    "source_tokens": "input tokens per epoch",
    "target_tokens": "target tokens per epoch",
    "truncated_sources": "truncated questions",
    "truncated_targets": "truncated answers",
}
_PERCENT = {"eval_token_accuracy", "eval_exact_match", "eval_rouge_l"}
_SCORES = {
    "eval_loss": "loss per token",
    "eval_perplexity": "perplexity",
    "eval_token_accuracy": "token accuracy (teacher forcing)",
    "eval_exact_match": "exact match (sample)",
    "eval_rouge_l": "ROUGE-L (sample)",
}


def write_card(directory: Path, told: Told, history: History, saved: ModelSaved) -> None:
    """Writes both files. Raises OSError when the disk is full."""
    # Imported here: only the end of a run needs the drawing library.
    from flant5_train.model_card.plot import draw_loss

    draw_loss(
        directory / CURVES,
        training=[(step.step, step.loss) for step in history.steps],
        validation=[(each.step, each.eval_loss) for each in history.evaluations],
    )
    text = card_text(told, history, saved)
    (directory / README).write_text(text, encoding="utf-8")


def card_text(told: Told, history: History, saved: ModelSaved) -> str:
    """Returns the text of README.md."""
    parts = (
        _front_matter(told),
        f"# {escaped(told.base_model)}, fine-tuned on conversations",
        *_introduction(told, history, saved),
        *usage(str(told.hyperparameters["tokenization"])),
        *_data(told, history),
        *_training(told, history, saved),
        *_evaluation(history),
    )
    return "\n\n".join(parts) + "\n"


def _front_matter(told: Told) -> str:
    """Returns the YAML metadata for the hub. A JSON string is valid YAML."""
    kind = told.hyperparameters["finetuning_type"]
    tags = ["t5", "flan-t5", "flant5", "conversational"] + ([str(kind)] if kind != "full" else [])
    base = [f"base_model: {json.dumps(told.base_model)}"] if told.is_on_hub else []
    known = ["library_name: transformers", *base, "tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join(["---", *known, "---"])


def _introduction(told: Told, history: History, saved: ModelSaved) -> Iterator[str]:
    how = {
        "full": "All its weights were trained",
        "lora": "It was trained with LoRA, and the adapter is merged into its weights",
        "qlora": "It was trained with QLoRA, and the adapter is merged into its weights",
    }
    kind = str(told.hyperparameters["finetuning_type"])
    yield (
        f"A conversational Flan-T5, fine-tuned from {escaped(told.base_model)} with flant5"
        f" {escaped(flant5_version())}. {how[kind]}."
    )
    if history.best is not None:
        yield (
            f"It has the weights of step {history.best.step}, which had the lowest validation loss:"
            f" {history.best.eval_loss:.3f}."
        )
    if history.early_stop is not None:
        yield (
            f"Training stopped early, at step {saved.step}, after {history.early_stop.patience}"
            " evaluations in a row without improvement."
        )


def _data(told: Told, history: History) -> Iterator[str]:
    yield "## Data"
    names = {"train": told.training_data, "validation": told.validation_data}
    reports = [(split, history.data[split]) for split in names if split in history.data]
    if not reports:
        return
    files = [names[split] or "held back from the training data" for split, _ in reports]
    rows = [("file", *files)]
    for key, said in _COUNTS.items():
        rows.append((said, *(_number(report.get(key)) for _, report in reports)))
    yield table(("", *(split for split, _ in reports)), rows)
    for split, report in reports:
        left_out = report.get("left_out")
        if isinstance(left_out, dict) and left_out:
            counted = ", ".join(f"{count} x {reason}" for reason, count in left_out.items())
            yield f"Left out of {split}: {escaped(counted)}."


def _training(told: Told, history: History, saved: ModelSaved) -> Iterator[str]:
    yield "## Training"
    rows = [("steps", _number(saved.step)), *_epochs(history, saved)]
    rows.append(("tokens trained on", _number(saved.tokens_seen)))
    rows.append(("mean training loss", f"{saved.train_loss:.4f}"))
    if history.start is not None:
        rows.append(("processes", _number(history.start.num_processes)))
    yield table(("", ""), rows)
    yield f"![Loss by step]({CURVES})"
    yield "### Hyperparameters"
    values = [
        (name, _value(value))
        for name, value in told.hyperparameters.items()
        if not (name == "num_train_epochs" and _ends_by_steps(told))
    ]
    yield table(("name", "value"), [*values, ("seed", told.seed)])
    yield from (escaped(line) for line in as_lines(told.changes))
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    yield f"Made with {escaped(versions)}, {escaped('Python ' + platform.python_version())}."


def _epochs(history: History, saved: ModelSaved) -> Iterator[tuple[str, str]]:
    """Yields the number of epochs actually trained, which may differ from the requested one."""
    if history.steps:
        last = history.steps[-1]
        yield "epochs", f"{last.epoch * saved.step / max(1, last.step):.2f}".removesuffix(".00")


def _ends_by_steps(told: Told) -> bool:
    """Returns True if `max_steps` was set, which overrides the number of epochs."""
    max_steps = told.hyperparameters.get("max_steps")
    return isinstance(max_steps, int) and max_steps > 0


def _evaluation(history: History) -> Iterator[str]:
    evaluation = history.of_model
    if evaluation is None:
        return
    yield "## Evaluation"
    yield f"On the validation conversations, after step {evaluation.step}:"
    yield table(("", ""), _scores(evaluation))


def _scores(evaluation: Evaluated) -> Iterator[tuple[str, str]]:
    for name, said in _SCORES.items():
        value = getattr(evaluation, name)
        if value is not None:
            yield said, f"{value:.1%}" if name in _PERCENT else f"{value:.4f}"


def _number(value: object) -> str:
    """
    >>> _number(182391), _number(None)
    ('182,391', '')
    """
    return f"{value:,}" if isinstance(value, int) else ""


def _value(value: object) -> str:
    """Returns the value as written in a request: `true`, not `True`."""
    return value if isinstance(value, str) else json.dumps(value)


def flant5_version() -> str:
    try:
        return version("flant5")
    except PackageNotFoundError:
        return "of an unknown version"  # run from a source tree, not installed
