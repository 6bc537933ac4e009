"""The file of losses that a controller noticed."""

from pathlib import Path

from worker.jobs.storage.store_losses import DataLoss, DataLossLog


def test_a_line_that_a_full_disk_has_cut_does_not_cost_the_next_loss(tmp_path: Path) -> None:
    log = DataLossLog(tmp_path / "losses.jsonl")
    first, second, third = (
        DataLoss(noticed_at=1e9 + number, cause="it was restarted", num_missing=number)
        for number in (1, 2, 3)
    )
    log.append(first)
    with (tmp_path / "losses.jsonl").open("a", encoding="utf-8") as file:
        file.write(second.model_dump_json()[:40])
    log.append(third)
    losses = log.read()
    assert (losses.num_losses, losses.num_jobs, losses.last) == (2, 4, third)
