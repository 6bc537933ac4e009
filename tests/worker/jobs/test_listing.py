import pytest

from tests.worker.scenes import spec
from worker.jobs.errors import InvalidRequestError
from worker.jobs.store import JobStore


def test_jobs_come_newest_first_page_by_page_while_new_ones_arrive(store: JobStore) -> None:
    ids = [store.create(spec()).id for _ in range(7)]
    seen, after = [], None
    while True:
        page = store.list(after=after, limit=3)
        seen += [job.id for job in page.items]
        if not page.has_more:
            break
        after = page.items[-1].id
        store.create(spec())
    assert seen == ids[::-1]


def test_a_full_last_page_is_the_last(store: JobStore) -> None:
    for _ in range(4):
        store.create(spec())
    assert store.list(after=None, limit=4).has_more is False
    assert store.list(after=None, limit=3).has_more is True


def test_no_jobs_are_an_empty_page(store: JobStore) -> None:
    page = store.list(after=None, limit=5)
    assert (page.items, page.has_more) == ((), False)


def test_metadata_must_match_in_all_pairs(store: JobStore) -> None:
    both = store.create(spec(metadata={"team": "a", "run": "1", "note": "x"})).id
    team = store.create(spec(metadata={"team": "a", "run": "2"})).id
    store.create(spec(metadata={"team": "b", "run": "1"}))
    store.create(spec())
    found = store.list(after=None, limit=5, metadata={"team": "a"})
    assert [job.id for job in found.items] == [team, both]
    found = store.list(after=None, limit=5, metadata={"team": "a", "run": "1"})
    assert [job.id for job in found.items] == [both]
    assert store.list(after=None, limit=5, metadata={"team": "c"}).items == ()


def test_a_rare_match_is_found_behind_many_other_jobs(store: JobStore) -> None:
    first = store.create(spec(metadata={"rare": "yes"}))
    for _ in range(120):
        store.create(spec())
    page = store.list(after=None, limit=1, metadata={"rare": "yes"})
    assert (page.items, page.has_more) == ((first,), False)


def test_a_cursor_must_be_a_job(store: JobStore) -> None:
    with pytest.raises(InvalidRequestError, match="ftjob-nothing") as caught:
        store.list(after="ftjob-nothing", limit=1)
    assert caught.value.param == "after"
