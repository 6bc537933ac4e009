"""Writes the model card of a finished model: `README.md` and `loss.png`.

The card shows metadata of the run, and the code to load and prompt the model. Untrusted parts are
escaped for Markdown.
"""

import html
import json
import platform
import pprint
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from flant5_train.arguments import Arguments, TrainingArguments
from flant5_train.config import DEMO_MODEL, OF_LORA, Hyperparameters
from flant5_train.data.prompt import _form_qa
from flant5_train.model_card.plot import History
from flant5_train.protocol.progress import PROGRESS_FILE, Evaluated, ModelSaved
from flant5_train.resume.record import Change, as_lines

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


def usage_section(tokenization: str) -> Iterator[str]:
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


_SPECIAL = re.compile(
    r"[\\`*\[\]#!|~@$]"  # emphasis, code, links, images, cells, mentions, formulas
    r"|(?<!\w)_|_(?!\w)"  # emphasis, but not inside a word
    r"|:(?=//)|(?<=www)\."  # addresses, which GitHub and the hub turn into links
)


def escaped(text: object) -> str:
    """Escapes text for use inside a line, not at its beginning: it renders literally.

    >>> escaped("<b>*x*|y")
    '&lt;b&gt;\\\\*x\\\\*\\\\|y'
    """
    line = " ".join(str(text).split())
    visible = "".join(each if each.isprintable() else "\ufffd" for each in line)
    return html.escape(_SPECIAL.sub(r"\\\g<0>", visible), quote=False)


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns a Markdown table with every cell escaped."""
    lines = [_row(header), _row(["---"] * len(header), is_text=False)]
    return "\n".join([*lines, *(_row(row) for row in rows)])


def _row(cells: Sequence[object], *, is_text: bool = True) -> str:
    return f"| {' | '.join(escaped(cell) if is_text else str(cell) for cell in cells)} |"


_NAMED_OTHERWISE = {
    "gradient_checkpointing": "activation_checkpointing",
    "torch_compile": "compiles_blocks",
}
"""Names of the trainer's arguments that differ from the hyperparameter's name."""
_CONTENTS = ("output", "content")
"""Names that the service gives to every job's result and every uploaded file's content. The parent
directory has the distinct name."""


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """Metadata of a run, from its arguments before any is adjusted."""

    base_model: str
    is_on_hub: bool
    """True when `base_model` may be a hub name."""
    training_data: str
    validation_data: str | None
    seed: int
    hyperparameters: Mapping[str, object]
    progress_file: Path
    """The file with the run's records."""
    changes: tuple[Change, ...] = ()
    """Checkpoints from which the run was resumed with other values."""

    @classmethod
    def of(cls, arguments: Arguments) -> "RunMetadata":
        name, validation = arguments.model.model_name_or_path, arguments.data.validation_file
        is_directory = Path(name).is_dir()
        return cls(
            base_model=_name_of(Path(name)) if is_directory else name,
            is_on_hub=not is_directory and name != DEMO_MODEL,
            training_data=_name_of(Path(arguments.data.data_path)),
            validation_data=None if validation is None else _name_of(Path(validation)),
            seed=arguments.training.seed,
            hyperparameters=_hyperparameters(arguments),
            progress_file=arguments.training.record_directory / PROGRESS_FILE,
        )

    def settled(self, training: TrainingArguments) -> "RunMetadata":
        """Returns a copy with the values that the run chose automatically."""
        chosen = {
            name: getattr(training, name)
            for name in ("num_train_epochs", "learning_rate")
            if self.hyperparameters.get(name) is None
        }
        return replace(self, hyperparameters={**self.hyperparameters, **chosen})


def _name_of(path: Path) -> str:
    """Returns the name of a model or a file, without its path on this machine.

    >>> _name_of(Path("/srv/models/flan-t5-xl")), _name_of(Path("/srv/jobs/ftjob-a/output"))
    ('flan-t5-xl', 'ftjob-a')
    """
    path = path.absolute()
    return (path.parent if path.name in _CONTENTS else path).name


def _hyperparameters(arguments: Arguments) -> dict[str, object]:
    """Returns the hyperparameters in the order of their documentation. LoRA settings are left out
    for full fine-tuning."""
    groups = (arguments.model, arguments.data, arguments.training)
    has_adapter = arguments.model.finetuning_type != "full"
    found: dict[str, object] = {}
    for name in Hyperparameters.model_fields:
        own = _NAMED_OTHERWISE.get(name, name)
        values: list[Any] = [getattr(group, own) for group in groups if hasattr(group, own)]
        if values and (has_adapter or name not in OF_LORA):
            value = values[0]
            found[name] = value.value if isinstance(value, Enum) else value
    return found


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


def write_card(directory: Path, metadata: RunMetadata, history: History, saved: ModelSaved) -> None:
    """Writes both files. Raises OSError when the disk is full."""
    # Imported here: only the end of a run needs the drawing library.
    from flant5_train.model_card.plot import draw_loss

    draw_loss(
        directory / CURVES,
        training=[(step.step, step.loss) for step in history.steps],
        validation=[(each.step, each.eval_loss) for each in history.evaluations],
    )
    text = card_text(metadata, history, saved)
    (directory / README).write_text(text, encoding="utf-8")


def card_text(metadata: RunMetadata, history: History, saved: ModelSaved) -> str:
    """Returns the text of README.md."""
    parts = (
        _front_matter(metadata),
        f"# {escaped(metadata.base_model)}, fine-tuned on conversations",
        *_introduction(metadata, history, saved),
        *usage_section(str(metadata.hyperparameters["tokenization"])),
        *_data(metadata, history),
        *_training(metadata, history, saved),
        *_evaluation(history),
    )
    return "\n\n".join(parts) + "\n"


def _front_matter(metadata: RunMetadata) -> str:
    """Returns the YAML metadata for the hub. A JSON string is valid YAML."""
    kind = metadata.hyperparameters["finetuning_type"]
    tags = ["t5", "flan-t5", "flant5", "conversational"] + ([str(kind)] if kind != "full" else [])
    base = [f"base_model: {json.dumps(metadata.base_model)}"] if metadata.is_on_hub else []
    known = ["library_name: transformers", *base, "tags:", *(f"- {tag}" for tag in tags)]
    return "\n".join(["---", *known, "---"])


def _introduction(metadata: RunMetadata, history: History, saved: ModelSaved) -> Iterator[str]:
    how = {
        "full": "All its weights were trained",
        "lora": "It was trained with LoRA, and the adapter is merged into its weights",
        "qlora": "It was trained with QLoRA, and the adapter is merged into its weights",
    }
    kind = str(metadata.hyperparameters["finetuning_type"])
    yield (
        f"A conversational Flan-T5, fine-tuned from {escaped(metadata.base_model)} with flant5"
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


def _data(metadata: RunMetadata, history: History) -> Iterator[str]:
    yield "## Data"
    names = {"train": metadata.training_data, "validation": metadata.validation_data}
    reports = [(split, history.data[split]) for split in names if split in history.data]
    if not reports:
        return
    files = [names[split] or "held back from the training data" for split, _ in reports]
    rows = [("file", *files)]
    for key, label in _COUNTS.items():
        rows.append((label, *(_number(report.get(key)) for _, report in reports)))
    yield table(("", *(split for split, _ in reports)), rows)
    for split, report in reports:
        left_out = report.get("left_out")
        if isinstance(left_out, dict) and left_out:
            counted = ", ".join(f"{count} x {reason}" for reason, count in left_out.items())
            yield f"Left out of {split}: {escaped(counted)}."


def _training(metadata: RunMetadata, history: History, saved: ModelSaved) -> Iterator[str]:
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
        for name, value in metadata.hyperparameters.items()
        if not (name == "num_train_epochs" and _ends_by_steps(metadata))
    ]
    yield table(("name", "value"), [*values, ("seed", metadata.seed)])
    yield from (escaped(line) for line in as_lines(metadata.changes))
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    yield f"Made with {escaped(versions)}, {escaped('Python ' + platform.python_version())}."


def _epochs(history: History, saved: ModelSaved) -> Iterator[tuple[str, str]]:
    """Yields the number of epochs actually trained, which may differ from the requested one."""
    if history.steps:
        last = history.steps[-1]
        yield "epochs", f"{last.epoch * saved.step / max(1, last.step):.2f}".removesuffix(".00")


def _ends_by_steps(metadata: RunMetadata) -> bool:
    """Returns True if `max_steps` was set, which overrides the number of epochs."""
    max_steps = metadata.hyperparameters.get("max_steps")
    return isinstance(max_steps, int) and max_steps > 0


def _evaluation(history: History) -> Iterator[str]:
    evaluation = history.of_model
    if evaluation is None:
        return
    yield "## Evaluation"
    yield f"On the validation conversations, after step {evaluation.step}:"
    yield table(("", ""), _scores(evaluation))


def _scores(evaluation: Evaluated) -> Iterator[tuple[str, str]]:
    for name, label in _SCORES.items():
        value = getattr(evaluation, name)
        if value is not None:
            yield label, f"{value:.1%}" if name in _PERCENT else f"{value:.4f}"


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
