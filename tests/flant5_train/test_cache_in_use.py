"""The cache and its cleanup keep what they promise each other."""

import os
from pathlib import Path

import pytest

from flant5_train.config import OnBadRecord
from flant5_train.data.cache import DataCache
from flant5_train.data.encoding import encoder_for
from flant5_train.models.tokenizer import LosslessTokenizer
from tests.flant5_train.conftest import EXAMPLES
from worker.controller.retention import remove_unused


@pytest.fixture
def cache(lossless: LosslessTokenizer, tmp_path: Path) -> DataCache:
    return DataCache(tmp_path / "cache", encoder_for(lossless), OnBadRecord.FAIL)


def make_old(cache: DataCache) -> Path:
    (manifest,) = cache.directory.glob("*/manifest.json")
    os.utime(manifest, (1, 1))
    return manifest


def clean(cache: DataCache) -> None:
    list(remove_unused(cache.directory, seconds=60))


def test_an_entry_in_use_stays_however_old_it_is(cache: DataCache) -> None:
    encoded = cache.build(EXAMPLES)
    manifest = make_old(cache)
    clean(cache)
    assert manifest.exists()
    assert len(encoded.tokens) == encoded.manifest.num_tokens
    del encoded
    clean(cache)
    assert not manifest.parent.exists()


def test_each_use_makes_an_entry_young_again(cache: DataCache) -> None:
    cache.build(EXAMPLES)
    manifest = make_old(cache)
    cache.build(EXAMPLES)
    clean(cache)
    assert manifest.exists()


def test_what_was_cleaned_up_is_encoded_again(cache: DataCache) -> None:
    first = cache.build(EXAMPLES).manifest
    make_old(cache)
    clean(cache)
    assert not any(cache.directory.glob("*/*"))
    assert cache.build(EXAMPLES).manifest == first
