"""Table of the fields of records and turns, and their effect on training.

One table for both forms, `conversations` and `messages`. A field is honoured, refused with a hint,
reported with its count, or silent because it only annotates. Unknown fields are reported.
`docs/data.md` shows the table; `tests/flant5_train/data/test_record_fields.py` compares the two.

The names come from the documentation of LLaMA-Factory (data/README.md), axolotl
(docs/dataset-formats), ms-swift (Custom-dataset.md), TRL (dataset_formats.md), OpenAI (fine-tuning
input objects of the API specification 2.3), Fireworks (weighted training), torchtune, NeMo.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from functools import lru_cache
from typing import Literal

Level = Literal["record", "turn"]


class Effect(StrEnum):
    """The effect of a field on training."""

    HONOURED = "honoured"
    """The field changes the training data."""
    REFUSED = "refused"
    """The field needs an unsupported feature; the record is malformed."""
    REPORTED = "reported"
    """Other programs use the field, this trainer does not: a warning with its count."""
    SILENT = "silent"
    """The field only annotates."""


def has_content(value: object) -> bool:
    """Returns False for null and empty values, which count as absent.

    >>> [has_content(value) for value in (None, "", [], "[]", {}, 0, False, "x")]
    [False, False, False, False, False, True, True, True]
    """
    return value is not None and value not in ("", "[]", "{}", [], {})


def _is_boolean(value: object) -> bool:
    return isinstance(value, bool)


def _masks_other_than_questions(value: object) -> bool:
    return has_content(value) and str(value).lower() not in ("user", "human", "system")


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One row of the table."""

    level: Level
    names: tuple[str, ...]
    effect: Effect
    meaning: str
    """Meaning of the field, or the reason for its refusal; errors show it after "found"."""
    expected: str = ""
    """The next step for a refused field."""
    kind: str = ""
    """Kind of problem or warning, for the counts in reports."""
    applies: Callable[[object], bool] = has_content
    """Returns True for values covered by this rule; by default all except null and empty ones."""


SYSTEM_FIELDS = ("system", "system_prompt", "system_message")
"""Fields of a record that hold the system text."""
TRAINED_FLAGS = (
    *("weight", "loss", "loss_scale", "loss_weight"),
    *("train", "training", "train_on_turn"),
)
"""Fields of a turn: 1 or true trains on the answer; 0 or false keeps it as context only."""
MASKED_FLAGS = ("masked",)
"""Fields of a turn with the opposite meaning: 1 or true keeps the answer as context only."""
RECORD_WEIGHTS = ("weight", "loss_weight", "sample_weight")
"""Fields of a record: 0 keeps all answers as context only; 1 has no effect."""

TOOLS = "tool call"
MEDIA = "image, audio or video"
PREFERENCE = "preference data"
WEIGHT = "unknown weight"
WITHOUT_EFFECT = "field without effect"
UNKNOWN = "unknown field"

WITHOUT_TOOLS = (
    "a text-only conversation: leave the record out, or write the call and its result into the"
    " texts"
)
_TEXT_ONLY = "a text-only conversation: leave the record out, or describe the content as text"
_ONE_ANSWER = (
    "one conversation that ends with the better answer, without this field: training here is"
    " supervised"
)


def _row(level: Level, effect: Effect, names: str, meaning: str, **parts: object) -> FieldRule:
    return FieldRule(level, tuple(names.split()), effect, meaning, **parts)  # type: ignore[arg-type]


TABLE: tuple[FieldRule, ...] = (
    _row("record", Effect.HONOURED, "conversations messages", "the turns"),
    _row(
        "record",
        Effect.HONOURED,
        " ".join(SYSTEM_FIELDS),
        "the system text, as if it were the first turn",
    ),
    _row(
        "record",
        Effect.HONOURED,
        " ".join(RECORD_WEIGHTS),
        "0 keeps all answers of the record out of training, 1 trains on them; other numbers are"
        " refused",
    ),
    _row(
        "record",
        Effect.REFUSED,
        "chosen rejected chosen_response rejected_response chosen_messages rejected_messages"
        " preferred_output non_preferred_output kto_tag positive_messages negative_messages"
        " completions margin",
        "preference data, which names better and worse answers",
        expected=_ONE_ANSWER,
        kind=PREFERENCE,
    ),
    _row(
        "record",
        Effect.REFUSED,
        "label",
        "a boolean: whether the answer is a good one (KTO)",
        expected="records with good answers only, without this field: training here is supervised",
        kind=PREFERENCE,
        applies=_is_boolean,
    ),
    _row(
        "record",
        Effect.REFUSED,
        "image images image_url image_urls video videos audio audios objects rejected_images",
        "an image, audio or video",
        expected=_TEXT_ONLY,
        kind=MEDIA,
    ),
    _row(
        "record",
        Effect.REFUSED,
        "mask",
        "the role that is not trained on; questions never are, so User has no effect",
        expected="'User', or 'weight': 0 in the answers that are not to be trained on",
        kind=WEIGHT,
        applies=_masks_other_than_questions,
    ),
    _row(
        "record",
        Effect.REPORTED,
        "tools functions tool_choice",
        "tools that no turn calls; the model does not see them",
        kind=WITHOUT_EFFECT,
    ),
    _row(
        "record",
        Effect.REPORTED,
        "prompt completion instruction instructions input output query response history text"
        " conversation dialogue dialog question answer",
        "another form of the same data; only the turns are trained on",
        kind=WITHOUT_EFFECT,
    ),
    _row(
        "record",
        Effect.REPORTED,
        "label labels input_ids attention_mask completion_mask assistant_masks solution"
        " ground_truth reference_answer reward rewards response_format reasoning_effort"
        " chat_template_kwargs loss_scale",
        "used by other kinds of training",
        kind=WITHOUT_EFFECT,
        applies=lambda value: has_content(value) and not _is_boolean(value),
    ),
    _row(
        "record",
        Effect.SILENT,
        "id _id idx index uid uuid hash conversation_id conversation_hash session_id thread_id"
        " prompt_id question_id example_id record_id sample_id user_id __index_level_0__"
        " source sources src dataset dataset_name data_source split origin url license"
        " lang language languages locale country model model_name generator annotator author"
        " timestamp created created_at updated_at date time title topic topics category"
        " subcategory categories domain task task_type type tags keywords metadata meta extra"
        " comment note notes score scores rating quality difficulty toxic redacted"
        " openai_moderation moderation turn num_turns num_tokens length version schemaVersion"
        " channel parallel_tool_calls",
        "annotations",
    ),
    _row("turn", Effect.HONOURED, "from role", "the speaker"),
    _row("turn", Effect.HONOURED, "value content", "the text: a string, or text parts"),
    _row(
        "turn",
        Effect.HONOURED,
        " ".join(TRAINED_FLAGS),
        "in an answer: 1 or true trains on it, 0 or false keeps it as context for later answers;"
        " other values are refused. In any other turn: 0 has no effect, 1 is reported",
    ),
    _row(
        "turn",
        Effect.HONOURED,
        " ".join(MASKED_FLAGS),
        "the opposite: true or 1 keeps an answer as context",
    ),
    _row(
        "turn",
        Effect.REFUSED,
        "tool_calls function_call tool_call_id tool_call tool_use",
        "a tool call or its result, which can't be trained on",
        expected=WITHOUT_TOOLS,
        kind=TOOLS,
    ),
    _row(
        "turn",
        Effect.REFUSED,
        "image images image_url video videos audio audios file files attachments",
        "an image, audio, video or file",
        expected=_TEXT_ONLY,
        kind=MEDIA,
    ),
    _row(
        "turn",
        Effect.REFUSED,
        "chosen rejected rejected_response",
        "preference data, which names better and worse answers",
        expected=_ONE_ANSWER,
        kind=PREFERENCE,
    ),
    _row(
        "turn",
        Effect.REFUSED,
        "train_detail training_detail",
        "parts of a turn that are trained on and parts that are not",
        expected="whole answers: 'weight' 1 or 0, or only the part to learn as the text",
        kind=WEIGHT,
    ),
    _row(
        "turn",
        Effect.REFUSED,
        "mask loss_mask",
        "a mask, whose 1 means trained in some files and not trained in others",
        expected="'weight': 1 for an answer that is trained on, 0 for one that is not",
        kind=WEIGHT,
    ),
    _row(
        "turn",
        Effect.REFUSED,
        "refusal",
        "a refusal in addition to the text",
        expected="it as the text of the turn, if it is the answer to learn",
        kind="refusal",
    ),
    _row(
        "turn",
        Effect.REPORTED,
        "thinking reasoning reasoning_content prefix recipient cache_control label",
        "used by other kinds of models; only the text is trained on",
        kind=WITHOUT_EFFECT,
    ),
    _row(
        "turn",
        Effect.SILENT,
        "name id _id idx index message_id parent_id uuid timestamp created created_at create_time"
        " date time lang language source model annotations citations metadata meta markdown tags"
        " toxicity redacted openai_moderation status end_turn tokens num_tokens score rating",
        "annotations, including the name of a speaker",
    ),
)

_RULES: dict[tuple[Level, str], tuple[FieldRule, ...]] = {}
for _each in TABLE:
    for _name in _each.names:
        _RULES[_each.level, _name] = (*_RULES.get((_each.level, _name), ()), _each)

OTHER_FORMS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"preferred_output"}), "preference data (OpenAI)"),
    (frozenset({"chosen", "rejected"}), "preference data"),
    (frozenset({"instruction", "output"}), "the Alpaca form"),
    (frozenset({"prompt", "completion"}), "the prompt and completion form"),
    (frozenset({"prompt", "response"}), "the prompt and response form"),
    (frozenset({"query", "response"}), "the query and response form (ms-swift)"),
    (frozenset({"question", "answer"}), "the question and answer form"),
    (frozenset({"conversation"}), "the 'conversation' form (ms-swift)"),
    (frozenset({"contents"}), "the 'contents' form (Gemini)"),
    (frozenset({"segments"}), "the segments of axolotl"),
    (frozenset({"input_ids"}), "tokens"),
    (frozenset({"text"}), "plain text"),
)
"""Fields that identify records of other forms, and the names of these forms in errors."""


def rule_of(level: Level, name: str, value: object) -> FieldRule | None:
    """Returns the rule for a field with this value; None if the field is unknown.

    Null and empty values of known fields get a silent rule.
    """
    rules = _RULES.get((level, name))
    if rules is None:
        return _NOTHING if not has_content(value) else None
    return next((rule for rule in rules if rule.applies(value)), _NOTHING)


_NOTHING = FieldRule("record", (), Effect.SILENT, "a field without content")


def other_form_of(fields: frozenset[str]) -> str | None:
    """Returns the form of a record without turns, or None if it is unknown."""
    return next((form for names, form in OTHER_FORMS if names <= fields), None)


@lru_cache(maxsize=1000)
def meant_by(level: Level, name: str) -> str | None:
    """Returns the honoured or refused field that an unknown name probably misspells."""
    known = [
        each
        for (of, each), rules in _RULES.items()
        if of == level and rules[0].effect in (Effect.HONOURED, Effect.REFUSED)
    ]
    close = get_close_matches(name.lower(), known, n=1, cutoff=0.8)
    return close[0] if close else None


def as_markdown(level: Level) -> str:
    """Returns the table of one level in Markdown, as in `docs/data.md`."""
    return "\n".join(_markdown_rows(level)) + "\n"


def _markdown_rows(level: Level) -> Iterator[str]:
    yield "| fields | effect | meaning |"
    yield "|---|---|---|"
    for rule in TABLE:
        if rule.level == level:
            names = ", ".join(f"`{name}`" for name in rule.names)
            way_on = f"; expected {rule.expected}" if rule.expected else ""
            yield f"| {names} | {rule.effect} | {rule.meaning}{way_on} |"
