"""`python -m flant5_train.file_report FILE`: prints the report as one JSON document.

Exit code 0: a job accepts the file. Exit code 1: it does not. Exit code 2: the file can't be read,
and standard output is a Failure (`flant5_train.protocol.failure`).
"""

import argparse
import sys
from pathlib import Path
from typing import get_args

from flant5_train.config import Hyperparameters, OnBadRecord, OnMissingQuestion
from flant5_train.data.errors import DataError
from flant5_train.file_report.checks import ReportRequest, examine
from flant5_train.file_report.token_counts import Tokenization
from flant5_train.process import die_with_parent, leave_the_cores_to_others
from flant5_train.protocol.failure import Failure

_DEFAULTS = Hyperparameters()


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    both = arguments.model_max_length
    report_request = ReportRequest(
        max_source_length=arguments.max_source_length or both,
        max_target_length=arguments.max_target_length or both,
        model=arguments.model,
        tokenization=arguments.tokenization,
        on_bad_record=arguments.on_bad_record,
        on_missing_question=arguments.on_missing_question,
    )
    try:
        report = examine(arguments.file, report_request)
    except DataError as error:
        failure = Failure(code=error.code, message=str(error))
        sys.stdout.write(failure.model_dump_json() + "\n")
        return 2
    sys.stdout.write(report.model_dump_json() + "\n")
    return 0 if report.is_trainable else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m flant5_train.file_report")
    parser.add_argument("file", type=Path)
    parser.add_argument("--model", help="a directory or a hub name")
    parser.add_argument(
        "--tokenization", choices=get_args(Tokenization), default=_DEFAULTS.tokenization
    )
    parser.add_argument("--model-max-length", type=int, default=_DEFAULTS.model_max_length)
    parser.add_argument("--max-source-length", type=int)
    parser.add_argument("--max-target-length", type=int)
    parser.add_argument("--on-bad-record", type=OnBadRecord, default=OnBadRecord.FAIL)
    parser.add_argument(
        "--on-missing-question", type=OnMissingQuestion, default=OnMissingQuestion.TRAIN
    )
    return parser


if __name__ == "__main__":
    die_with_parent()
    leave_the_cores_to_others()
    sys.exit(main())
