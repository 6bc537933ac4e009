"""torchrun's last words, as torch 2.13 writes them."""

import pytest

from worker.failures.evidence import RankEnd, find_summary, lines_before

END = """
  time      : 2026-11-24_06:52:35
  host      : localhost
  rank      : {rank} (local_rank: {rank})
  exitcode  : {exit_code} (pid: 6354)  (SIGNAL)
  error_file: <N/A>
  traceback : Signal 15 (SIGTERM) received by PID 6354"""


def told(root: tuple[int, int], *others: tuple[int, int]) -> list[str]:
    """The summary of (rank, exit code), the first observed failure and the others."""
    text = "E1124 torch/api.py:1002] failed (exitcode: 3) local_rank: 1 (pid: 6355) of binary: x\n"
    text += "exits.py FAILED\nFailures:\n"
    for rank, exit_code in others:
        text += "[1]:" + END.format(rank=rank, exit_code=exit_code) + "\n"
    text += "------\nRoot Cause (first observed failure):\n[0]:"
    return (text + END.format(rank=root[0], exit_code=root[1])).splitlines()


@pytest.mark.parametrize(
    ("root", "others", "cause"),
    [
        ((1, 3), [(0, -15)], (1, 3)),
        ((1, -11), [(0, -9)], (1, -11)),
        ((0, 1), [(1, -9)], (0, 1)),
        # Both ended between two looks of torchrun.
        ((0, 1), [(1, 3)], (1, 3)),
        ((0, 1), [(1, -11)], (1, -11)),
        ((0, 1), [(1, 1)], (0, 1)),
    ],
)
def test_the_end_that_explains_the_others_is_found(
    root: tuple[int, int], others: list[tuple[int, int]], cause: tuple[int, int]
) -> None:
    summary = find_summary(told(root, *others))
    assert summary is not None
    assert summary.cause == RankEnd(*cause)


def test_a_log_without_a_summary_has_none() -> None:
    assert find_summary(["rank : 3", "exitcode : 1"]) is None


def test_the_words_of_the_processes_end_where_torchrun_begins() -> None:
    assert lines_before(["Traceback", "", "ValueError: x", *told((0, 1))]) == [
        "Traceback",
        "ValueError: x",
    ]
    assert lines_before(["alone"]) == ["alone"]
