"""Data arguments of the trainer.

Separate from the other arguments, whose library imports take one second and 70 MB.
"""

from dataclasses import dataclass, field

from flant5_train.config import OnBadRecord, OnMissingQuestion


@dataclass
class DataArguments:
    """Data files, and the rules for reading them."""

    data_path: str = field(
        metadata={"help": "Conversations: ShareGPT JSON or JSON lines, or chat messages."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Conversations to evaluate on."}
    )
    validation_split: float = field(
        default=0.0, metadata={"help": "Share of the conversations held back for evaluation."}
    )
    on_bad_record: OnBadRecord = field(
        default=OnBadRecord.FAIL,
        metadata={"help": "fail at the first malformed record, or skip and count them."},
    )
    on_missing_question: OnMissingQuestion = field(
        default=OnMissingQuestion.TRAIN,
        metadata={"help": "train on answers without a preceding question, or skip and count them."},
    )
    max_source_length: int | None = field(
        default=None, metadata={"help": "Encoder limit in tokens; default: model_max_length."}
    )
    max_target_length: int | None = field(
        default=None, metadata={"help": "Decoder limit in tokens; default: model_max_length."}
    )
    cache_directory: str | None = field(
        default=None,
        metadata={"help": "Directory of encoded files; default: inside the run directory."},
    )

    def __post_init__(self) -> None:
        # The parser passes plain strings.
        self.on_bad_record = OnBadRecord(self.on_bad_record)
        self.on_missing_question = OnMissingQuestion(self.on_missing_question)
