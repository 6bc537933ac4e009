"""What must not grow or be lost under load, by counts: times are for `make bench`."""

from pathlib import Path
from typing import cast

import pytest
from redis import Redis

from benchmarks.api_server import api_server
from benchmarks.crowd import Script, run_crowd
from benchmarks.long_log import write_long_log
from tests.api.scenes import make_job
from worker.jobs.storage.paths import Home
from worker.jobs.store.history import JobHistory
from worker.jobs.store.store import JobStore


@pytest.mark.stack
def test_no_event_is_lost_to_clients_that_come_back_after_a_restart_of_the_api(
    tmp_path: Path,
) -> None:
    script = Script(
        num_clients=60,
        num_jobs=3,
        num_rounds=12,
        round_seconds=0.25,
        settle_seconds=0,
        restarts=True,
    )
    with api_server(tmp_path) as server:
        crowd = run_crowd(server, script)
    assert crowd.num_expected >= script.num_clients * script.num_rounds
    assert crowd.num_received == crowd.num_expected
    assert crowd.num_returns >= script.num_clients


def test_a_page_of_a_log_costs_the_same_wherever_it_is(
    redis: Redis, store: JobStore, history: JobHistory, tmp_path: Path
) -> None:
    job_id = make_job(store).id
    path = Home(tmp_path / "home").run_directory(job_id).log
    log = write_long_log(redis, job_id, path, num_bytes=5_000_000)

    def cost(seq: int) -> tuple[int, int, int]:
        """Bytes read by this process, commands to Redis, and bytes from it."""
        before = _bytes_read(), *_traffic(redis)
        page = history.logs(job_id, after=log.id_of(seq) if seq else None, limit=50)
        after = _bytes_read(), *_traffic(redis)
        assert [line.seq for line in page.items] == [*range(seq + 1, seq + 51)]
        num_bytes, num_commands, sent = (
            now - then for now, then in zip(after, before, strict=True)
        )
        return num_bytes, num_commands, sent

    cost(0)  # what the first look at anything takes
    first, second, middle, near_the_end = (
        cost(seq) for seq in (0, 50, log.num_lines // 2, log.num_lines - 12_000)
    )
    for later in (middle, near_the_end):
        assert later[1] == second[1]
        assert later[0] < second[0] + 20_000, "at most a few blocks of the file more"
        assert later[2] < second[2] + 1000
    assert first[1] <= second[1]
    in_redis = cost(log.num_lines - 60)
    assert in_redis[1] <= second[1] + 1
    assert in_redis[0] < 200_000


def _bytes_read() -> int:
    (line,) = [
        line
        for line in Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
        if line.startswith("rchar:")
    ]
    return int(line.split()[1])


def _traffic(redis: Redis) -> tuple[int, int]:
    stats = cast(dict[str, int], redis.info("stats"))
    return stats["total_commands_processed"], stats["total_net_output_bytes"]
