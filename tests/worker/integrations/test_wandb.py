"""The real W&B library: offline, read back from its files; online, against a server of our own."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.worker.integrations.fake_wandb import FakeWandb, playing_wandb
from tests.worker.integrations.runs import (
    INTERRUPTED,
    JOB_ID,
    assignment,
    expected_points,
    shipping,
    step,
    write,
)
from tests.worker.scenes import wait_until
from worker.jobs.job import Status

pytestmark = pytest.mark.stack

WANDB = {"type": "wandb", "wandb": {"project": "chats", "name": "first", "tags": ["a"]}}
OFFLINE = {"mode": "offline"}


_BLOCK_BYTES, _MAGIC = 32_768, b":W&B"
_FULL, _FIRST, _MIDDLE, _LAST = range(1, 5)


def entries(content: bytes) -> Iterator[bytes]:
    """Of a .wandb file, which is a log of LevelDB with a header of 7 bytes: blocks of parts, each
    with its checksum, its length and which part of an entry it is."""
    assert content.startswith(_MAGIC)
    at, parts = 7, b""
    while at + 7 <= len(content):
        if _BLOCK_BYTES - at % _BLOCK_BYTES < 7:
            at += _BLOCK_BYTES - at % _BLOCK_BYTES
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        at += 7
        assert kind in (_FULL, _FIRST, _MIDDLE, _LAST)
        parts += content[at : at + length]
        at += length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""


def read_run(directory: Path) -> tuple[dict[tuple[str, int], list[float]], dict[str, Any]]:
    """Points by curve and step, and the records of the run and its end."""
    from wandb.proto import wandb_internal_pb2

    messages: Any = wandb_internal_pb2

    (path,) = directory.glob("wandb-offline/wandb/offline-run-*/*.wandb")
    points: dict[tuple[str, int], list[float]] = {}
    other: dict[str, Any] = {}
    for data in entries(path.read_bytes()):
        record = messages.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind in ("run", "exit"):
            other[kind] = getattr(record, kind)
        if kind == "history":
            items = {
                item.key or "/".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            for name, value in items.items():
                if not name.startswith("_"):
                    points.setdefault((name, int(items["_step"])), []).append(value)
    return points, other


def as_expected(*more: Any) -> dict[tuple[str, int], list[Any]]:
    records = (*INTERRUPTED, *more)
    return {key: [pytest.approx(value)] for key, value in expected_points(records).items()}


def test_an_interrupted_run_is_one_clean_run_in_wandbs_own_files(tmp_path: Path) -> None:
    write(tmp_path / "progress.jsonl", *INTERRUPTED)
    with shipping(assignment(tmp_path, integration=WANDB, account=OFFLINE)) as shipped:
        assert shipped.end(Status.FAILED).is_done
    points, other = read_run(tmp_path)
    assert points == as_expected()
    run = other["run"]
    assert (run.run_id, run.project, run.display_name) == (JOB_ID, "chats", "first")
    assert set(run.tags) == {"a", "flant5", "flant5-demo"}
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert config["num_train_epochs"] == 3
    assert config["flant5_job_id"] == JOB_ID
    assert other["exit"].exit_code == 1


def test_a_run_that_goes_on_after_its_end_is_written_anew(tmp_path: Path) -> None:
    write(tmp_path / "progress.jsonl", *INTERRUPTED)
    for status, more in ((Status.FAILED, ()), (Status.SUCCEEDED, (step(7),))):
        write(tmp_path / "progress.jsonl", *more)
        with shipping(assignment(tmp_path, integration=WANDB, account=OFFLINE)) as shipped:
            assert shipped.end(status).is_done
    points, other = read_run(tmp_path)
    assert points == as_expected(step(7))
    assert other["exit"].exit_code == 0


def test_online_a_killed_shipper_and_a_resumed_run_are_one_clean_run(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    with playing_wandb(FakeWandb()) as fake:
        online = {"api_key": "x" * 40, "base_url": fake.url}
        told = assignment(tmp_path, integration=WANDB, account=online)
        write(path, *INTERRUPTED[:7], step(5))
        with shipping(told) as first:
            # The last row waits for the next one, in the library too.
            wait_until(lambda: len(fake.history) >= 3, seconds=120, what=str(first.reports))
            first.kill()
        write(path, *INTERRUPTED[7:])
        for status in (Status.PAUSED, Status.FAILED):
            with shipping(told) as again:
                assert again.end(status).is_done
        assert fake.points == as_expected()
        assert fake.exit_codes[-1] == 1
        write(path, step(7))
        with shipping(told) as last:
            assert last.end(Status.SUCCEEDED).is_done
        assert fake.points == as_expected(step(7))
        assert fake.exit_codes[-1] == 0
        assert last.urls == [f"{fake.url}/team/chats/runs/{JOB_ID}"]
