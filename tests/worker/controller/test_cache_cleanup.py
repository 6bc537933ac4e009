"""Encoded conversations that nobody has used for long."""

import os
from pathlib import Path

from tests.worker.controller.attic import Attic, cache_entry
from worker.controller.retention import remove_unused
from worker.jobs.storage.lock import take_lock


def test_encoded_conversations_that_nobody_used_go(attic: Attic) -> None:
    cache = attic.home / "cache"
    old, young = cache_entry(cache / "old", days=3), cache_entry(cache / "young", days=1)
    attic.clean(keep_cache_days=2)
    assert not old.exists()
    assert young.is_dir()


def test_an_entry_that_is_being_written_stays(attic: Attic) -> None:
    entry = cache_entry(attic.home / "cache" / "old", days=3)
    lock = take_lock(entry.with_name("old.lock"), patience_seconds=0)
    attic.clean(keep_cache_days=2)
    assert entry.is_dir()
    os.close(lock)
    attic.clean(keep_cache_days=2)
    assert not entry.exists()


def test_what_was_left_by_who_was_killed_while_writing_goes(tmp_path: Path) -> None:
    entry = tmp_path / "half"
    entry.mkdir()
    (entry / "tokens.bin").write_bytes(b"12")
    list(remove_unused(tmp_path, seconds=60))
    assert entry.is_dir()
    os.utime(entry, (1, 1))
    list(remove_unused(tmp_path, seconds=60))
    assert not entry.exists()
