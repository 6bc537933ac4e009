"""Checks conversation files before a run: `python -m flant5_train.check FILE ...`.

Prints a JSON report and exits 0, or prints a failure (`flant5_train.protocol.failure`) and exits
2. It needs neither torch nor a tokenizer: a service can run it while the GPU is busy.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from flant5_train.config import OnBadRecord, OnMissingQuestion
from flant5_train.data.conversations import ConversationFile
from flant5_train.data.errors import DataError, nothing_to_train_on
from flant5_train.data.prompt import render_prompt
from flant5_train.file_report.checks import warnings_under
from flant5_train.protocol.failure import Failure, encodable
from flant5_train.protocol.file_report import CheckedFile, CheckedFiles


def check_file(
    path: Path,
    on_bad_record: OnBadRecord,
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN,
) -> CheckedFile:
    """Returns the contents of a file as counts. Raises DataError if it can't be trained on."""
    warnings = warnings_under(on_missing_question)
    file = ConversationFile(path, on_bad_record, warnings.add)
    conversations = pairs = 0
    left_out: Counter[str] = Counter()
    for conversation in file:
        rendered = render_prompt(conversation, on_missing_question)
        conversations += 1
        pairs += sum(segment.is_answer for segment in rendered.segments)
        left_out += rendered.left_out
    left_out += file.left_out()
    if not pairs:
        raise nothing_to_train_on(path.name, conversations, left_out)
    return CheckedFile(
        file=encodable(path.name),
        conversations=conversations,
        pairs=pairs,
        left_out=dict(left_out),
        warnings=warnings.as_problems(),
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m flant5_train.check")
    parser.add_argument("file", nargs="+", type=Path)
    parser.add_argument("--on-bad-record", type=OnBadRecord, default=OnBadRecord.FAIL)
    parser.add_argument(
        "--on-missing-question", type=OnMissingQuestion, default=OnMissingQuestion.TRAIN
    )
    arguments = parser.parse_args(argv)
    how = arguments.on_bad_record, arguments.on_missing_question
    try:
        files = tuple(check_file(path, *how) for path in arguments.file)
    except DataError as error:
        failure = Failure(code=error.code, message=str(error))
        sys.stdout.write(failure.model_dump_json() + "\n")
        return 2
    sys.stdout.write(CheckedFiles(files=files).model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
