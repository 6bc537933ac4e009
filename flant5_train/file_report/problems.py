"""Collects the problems of a file: counts all, and keeps the first distinct ones."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from flant5_train.config import OnMissingQuestion
from flant5_train.data.errors import DataError, Place, Problem
from flant5_train.data.record_reader import ANSWER_WITHOUT_QUESTION
from flant5_train.protocol.file_report import MAX_LISTED, Problems, ReportedPlace, ReportedProblem

_NUMBERS = re.compile(r"\[\d+\]")


class _Key(NamedTuple):
    """Grouping key of equal problems. The numbers of turns are not part of it."""

    kind: str
    field: str | None
    found: str
    expected: str | None


@dataclass(slots=True)
class _Group:
    first: ReportedPlace
    count: int = 0
    second: ReportedPlace | None = None


def warnings_under(on_missing_question: OnMissingQuestion) -> "ProblemList":
    """Returns an empty list for warnings. If answers without a question are skipped, they are not
    listed as warnings: the counts of skipped turns include them."""
    is_skipped = on_missing_question is OnMissingQuestion.SKIP
    return ProblemList(without=frozenset([ANSWER_WITHOUT_QUESTION] if is_skipped else []))


class ProblemList:
    """List of problems; its memory grows only with their kinds. Ignores the kinds in `without`."""

    def __init__(self, *, without: frozenset[str] = frozenset()) -> None:
        self._without = without
        self._by_kind: Counter[str] = Counter()
        self._groups: dict[_Key, _Group] = {}
        self._num_records = 0
        self._last_record: int | None = None

    def __len__(self) -> int:
        return self._by_kind.total()

    def add(self, problem: Problem, *, place: Place) -> None:
        """Adds a problem. All problems of a record must be added consecutively."""
        if problem.reason in self._without:
            return
        if place.record != self._last_record:
            self._num_records += 1
            self._last_record = place.record
        field = None if problem.field is None else _NUMBERS.sub("[]", problem.field)
        key = _Key(problem.reason, field, problem.found, problem.expected)
        self._keep(key, ReportedPlace(record=place.record, line=place.line, field=problem.field))

    def add_end(self, error: DataError) -> None:
        """Adds the error that makes the rest of the file unreadable."""
        place = error.place
        found = str(error)
        if place is not None:
            found = found.removeprefix(f"{place}: ").removeprefix(f"{place.file}: ")
        self._keep(
            _Key(error.reason, None, found, None),
            ReportedPlace(
                record=None if place is None else place.record,
                line=None if place is None else place.line,
                field=None,
            ),
        )

    def as_problems(self) -> Problems:
        return Problems(
            num_problems=len(self),
            num_records=self._num_records,
            by_kind=dict(self._by_kind.most_common()),
            listed=tuple(
                ReportedProblem(
                    **group.first.model_dump(),
                    kind=key.kind,
                    found=key.found,
                    expected=key.expected,
                    count=group.count,
                    also_at=group.second,
                )
                for key, group in self._groups.items()
            ),
        )

    def _keep(self, key: _Key, place: ReportedPlace) -> None:
        self._by_kind[key.kind] += 1
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) == MAX_LISTED:
                return
            group = self._groups[key] = _Group(place)
        elif group.second is None:
            group.second = place
        group.count += 1
