"""Faults of a file while it is read: all counted, the first ones kept."""

from collections import Counter

from flant5_train.file_report.format import MAX_LISTED, Problems, ReportedProblem
from flant5_train.place import DataError, Place, Problem


class ProblemList:
    """Grows with the kinds of faults only."""

    def __init__(self) -> None:
        self._by_kind: Counter[str] = Counter()
        self._listed: list[ReportedProblem] = []
        self._num_records = 0
        self._last_record: int | None = None

    def __len__(self) -> int:
        return self._by_kind.total()

    def add(self, problem: Problem, *, place: Place) -> None:
        """Those of one record have to follow each other."""
        if place.record != self._last_record:
            self._num_records += 1
            self._last_record = place.record
        self._keep(
            ReportedProblem(
                record=place.record,
                line=place.line,
                field=problem.field,
                kind=problem.reason,
                found=problem.found,
                expected=problem.expected,
            )
        )

    def add_end(self, error: DataError) -> None:
        """What keeps the rest of the file from being read."""
        place = error.place
        found = str(error)
        if place is not None:
            found = found.removeprefix(f"{place}: ").removeprefix(f"{place.file}: ")
        self._keep(
            ReportedProblem(
                record=None if place is None else place.record,
                line=None if place is None else place.line,
                field=None,
                kind=error.reason,
                found=found,
                expected=None,
            )
        )

    def as_problems(self) -> Problems:
        return Problems(
            num_problems=len(self),
            num_records=self._num_records,
            by_kind=dict(self._by_kind.most_common()),
            listed=tuple(self._listed),
        )

    def _keep(self, problem: ReportedProblem) -> None:
        self._by_kind[problem.kind] += 1
        if len(self._listed) < MAX_LISTED:
            self._listed.append(problem)
