"""What the benchmarks compare is comparable, and what they print says what was measured."""

import json
import mmap
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import httpx
import pytest

from benchmarks import dashboard, service
from benchmarks.fastchat import preprocess, slow_tokenizer
from benchmarks.latency import Request, measure_latencies, percentile
from benchmarks.live_service import BenchmarkError, live_service
from benchmarks.memory import memory_of_tree, private_memory
from benchmarks.processor import process_of, processor_seconds
from benchmarks.row import Row
from benchmarks.stream_clients import Crowd, SequenceError, StreamClient
from benchmarks.table import heading, table
from benchmarks.talks import talks, write_array
from benchmarks.training_run import TrainingRun, speed_ratio, steps_per_second
from flant5_train.data import encoding
from flant5_train.data.conversations import ConversationFile
from flant5_train.models.tokenizer import load_tokenizer
from flant5_train.protocol.progress import StepTrained
from tests.flant5_train.conftest import T5_VOCABULARY

MAX_TOKENS = 50_000
"""More than any turn has: FastChat counts a turn that is cut as shorter than it is."""


@pytest.mark.skipif(not T5_VOCABULARY.exists(), reason="T5's vocabulary is not at hand")
@pytest.mark.filterwarnings("ignore:Token indices sequence length")
def test_fastchats_way_gives_the_pairs_that_our_fastchat_tokenization_gives(tmp_path: Path) -> None:
    path = tmp_path / "talks.json"
    write_array(path, num_bytes=200_000)
    theirs = preprocess(path, slow_tokenizer(T5_VOCABULARY, max_tokens=MAX_TOKENS))
    tokenizer = load_tokenizer(T5_VOCABULARY, tokenization="fastchat", model_max_length=MAX_TOKENS)
    sources = [talk["conversations"] for talk in json.loads(path.read_text(encoding="utf-8"))]
    ours = encoding.preprocess(sources, tokenizer)
    assert len(theirs.questions) > 50
    assert theirs.questions == ours["input_ids"]
    assert theirs.answers == ours["labels"]


def test_a_seed_gives_the_same_conversations_each_time(tmp_path: Path) -> None:
    first = list(islice(talks(seed=1), 20))
    assert first == list(islice(talks(seed=1), 20))
    assert first != list(islice(talks(seed=2), 20))


def test_the_array_is_as_large_as_wanted_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "talks.json"
    count = write_array(path, num_bytes=300_000)
    assert 300_000 <= path.stat().st_size < 600_000
    assert len(list(ConversationFile(path))) == count
    text = path.read_text(encoding="utf-8")
    assert all(mark in text for mark in ("```", "\\t", "机器学习", "😀"))


def row(ratio: float, goal: str) -> Row:
    return Row("speed", ours=400.0, theirs=10.0, ratio=ratio, unit="MB/s", goal=goal)


@pytest.mark.parametrize(
    ("ratio", "goal", "is_good"),
    [(40, ">= 40", True), (39, ">= 40", False), (0.2, "<= 0.25", True), (1, "<= 0.25", False)],
)
def test_a_goal_is_reached_or_missed(ratio: float, goal: str, is_good: bool) -> None:
    assert row(ratio, goal).is_good is is_good


def test_the_table_tells_both_sides_the_ratio_and_the_verdict() -> None:
    *_, line = table([row(40, ">= 40")]).splitlines()
    assert line == "| speed | 400 | 10 | MB/s | 40 | >= 40 | reached |"
    assert "missed" in table([row(39, ">= 40")])
    assert " cores, " in heading("Speed")


def test_memory_counts_what_a_process_takes() -> None:
    before = memory_of_tree(os.getpid()), private_memory()
    # Not from the allocator: it may have as much left from earlier tests.
    with mmap.mmap(-1, 64 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as ballast:
        for offset in range(0, len(ballast), mmap.PAGESIZE):
            ballast[offset] = 1
        after = memory_of_tree(os.getpid()), private_memory()
    for one, other in zip(before, after, strict=True):
        assert other - one > 60 << 20


def run_directory(path: Path, *, first: float, seconds: list[float]) -> Path:
    """A run that began at 1000 and told its first step after `first` seconds."""
    path.mkdir()
    at = 1000 + first
    records = []
    for step, pause in enumerate([0.0, *seconds], start=1):
        at += pause
        records.append(
            StepTrained(
                at=at,
                step=step,
                max_steps=99,
                epoch=1,
                loss=2.5,
                learning_rate=0.1,
                tokens_seen=1,
                tokens_per_second=1,
                eta_seconds=1,
            )
        )
    lines = "".join(f"{record.model_dump_json()}\n" for record in records)
    (path / "progress.jsonl").write_text(lines, encoding="utf-8")
    return path


def test_runs_are_compared_step_by_step_and_a_pause_of_the_machine_does_not_count(
    tmp_path: Path,
) -> None:
    seconds = [0.1 + step / 100 for step in range(30)]
    paused = [2 * each for each in seconds]
    paused[25] += 1000
    fast, slow = (
        TrainingRun.read(run_directory(tmp_path / name, first=first, seconds=each), began_at=1000)
        for name, first, each in (("fast", 5, seconds), ("slow", 7, paused))
    )
    assert speed_ratio([fast, fast], [slow, slow]) == pytest.approx(2)
    assert steps_per_second([slow]) == pytest.approx(10 / sum(paused[10:20]))
    training, first_step, loss = service.rows([fast], [slow])
    assert training.ratio == pytest.approx(2)
    assert first_step.ratio == pytest.approx(-2)
    assert loss.ratio == 0


def test_windows_with_open_pages_are_compared_each_with_those_around_it() -> None:
    # The machine gets slower all the time; a watched step takes a quarter more than others would.
    speeds = {0: 2.0, 20: 1.9 * 0.8, 40: 1.8, 60: 1.7 * 0.8, 80: 1.6}
    windows = [
        dashboard.Window(begin, begin + 10, 0.1 + n % 2 * 0.2, n % 2 * 0.5)
        for n, begin in enumerate(speeds)
    ]
    steps = [begin + n / each for begin, each in speeds.items() for n in range(int(10 * each))]
    training, noise, api, visitors = dashboard.rows("slowly", windows, steps)
    assert training.ratio == pytest.approx(0.8)
    assert (noise.ours, noise.theirs, noise.ratio) == pytest.approx((1.6, 2.0, 0.0))
    assert api.ratio == pytest.approx(0.02)
    assert visitors.ours == pytest.approx(0.05)
    with pytest.raises(BenchmarkError, match="1 steps in a window"):
        dashboard.rows("slowly", windows, steps[:1])


def test_a_process_is_found_by_its_module_and_its_time_is_counted() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "timeit", "-n", "1", "sum(range(10**9))"], stdout=subprocess.PIPE
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while processor_seconds(process.pid) < 0.1:
                assert time.monotonic() < deadline, "it takes no time"
            assert process_of(os.getpid(), "timeit") == process.pid
            with pytest.raises(ValueError, match="0 processes run worker"):
                process_of(os.getpid(), "worker")
        finally:
            process.kill()


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(200, 0, -1)]
    assert percentile(values, 99) == 198
    assert percentile(values, 50) == 100
    assert percentile([7.0], 99) == 7


def test_requests_take_turns_and_a_refused_one_is_no_measurement() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(404 if request.url.path == "/gone" else 200)

    transport = httpx.MockTransport(answer)
    with httpx.Client(base_url="http://api", transport=transport) as client:
        requests: dict[str, Request] = {
            "one": lambda client: client.get("/one"),
            "two": lambda client: client.get("/two"),
        }
        found = measure_latencies(client, requests, num_rounds=5)
        assert asked[-4:] == ["/one", "/two", "/one", "/two"]
        assert all(0 < each.median <= each.p99 for each in found.values())
        with pytest.raises(httpx.HTTPStatusError):
            measure_latencies(client, {"x": lambda client: client.get("/gone")}, num_rounds=1)


def test_clients_of_streams_count_what_they_get_and_tell_a_gap() -> None:
    def crowd_after(*seqs: int) -> Crowd:
        crowd = Crowd("http://127.0.0.1:1", "key", num_clients=1)
        client = StreamClient("ftjob-1", crowd)
        for seq in seqs:
            client.take(
                f'id: ft-event-{5000 + seq}-0\ndata: {{"a": 1, "seq":{seq}}}'.encode(), 5.002, 6
            )
        return crowd

    assert crowd_after(1, 2, 3, 4).delays_ms == pytest.approx([997, 996])
    for wrong in ((1, 3), (1, 1), (2,)):
        with pytest.raises(SequenceError):
            crowd_after(*wrong)


def test_a_service_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLANT5_HOST", "0.0.0.0")  # without API keys
    with (
        pytest.raises(BenchmarkError, match=r"the service ended: .* no API keys are configured"),
        live_service(tmp_path / "home"),
    ):
        raise AssertionError("it started")
