from typing import Any, cast

import pytest
from redis import Redis

from tests.worker.scenes import spec
from worker.jobs.errors import InvalidRequestError
from worker.jobs.store import keys
from worker.jobs.store.store import JobStore


def cost(redis: Redis, store: JobStore, **wanted: Any) -> tuple[int, int]:
    """Commands and bytes of answers that a page of three takes, the same each time."""
    before = cast(dict[str, int], redis.info("stats"))
    assert len(store.list(after=None, limit=3, **wanted).items) == 3
    after = cast(dict[str, int], redis.info("stats"))
    commands, sent = "total_commands_processed", "total_net_output_bytes"
    return after[commands] - before[commands], after[sent] - before[sent]


def fill(store: JobStore, num_jobs: int) -> None:
    """A third of them alice's, all of the team a, every fifth rare."""
    for number in range(num_jobs):
        tags = {"team": "a"} | ({"rare": "yes"} if number % 5 == 0 else {})
        store.create(spec(metadata=tags), owner="alice" if number % 3 == 0 else "bob")


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


def test_a_list_of_an_owner_has_no_others_jobs(store: JobStore) -> None:
    fill(store, 30)
    page = store.list(after=None, limit=4, owner="alice")
    assert [job.owner for job in page.items] == ["alice"] * 4
    assert page.has_more
    rest = store.list(after=page.items[-1].id, limit=100, owner="alice")
    assert ([job.owner for job in rest.items], rest.has_more) == (["alice"] * 6, False)
    tagged = store.list(after=None, limit=9, owner="alice", metadata={"rare": "yes", "team": "a"})
    assert [job.number for job in tagged.items] == [16, 1]
    assert store.list(after=None, limit=9, owner="carol").items == ()


@pytest.mark.parametrize(
    "wanted", [{}, {"owner": "alice"}, {"metadata": {"rare": "yes"}}], ids=["all", "owner", "tag"]
)
def test_a_page_costs_the_same_of_many_jobs(
    redis: Redis, store: JobStore, wanted: dict[str, Any]
) -> None:
    fill(store, 30)
    commands, sent = cost(redis, store, **wanted)
    fill(store, 200)
    later = cost(redis, store, **wanted)
    assert later[0] == commands
    assert later[1] < 1.1 * sent, "numbers have a digit more, nothing else may grow"


def test_a_page_is_full_although_jobs_were_deleted_while_it_is_read(
    redis: Redis, store: JobStore
) -> None:
    ids = [store.create(spec()).id for _ in range(8)]
    for gone in (7, 6, 4):
        redis.delete(keys.job(ids[gone]))  # on the list still, as between its two readings
    page = store.list(after=None, limit=3)
    assert [job.id for job in page.items] == [ids[5], ids[3], ids[2]]
    assert page.has_more


def test_a_pair_is_found_by_its_exact_text(store: JobStore) -> None:
    odd = {"a:b": "cü", 'quote"': "line\nend", "😀": "", "1": "x\u0000y"}
    job_id = store.create(spec(metadata=odd)).id
    for pair in odd.items():
        assert [job.id for job in store.list(after=None, limit=5, metadata=dict([pair])).items] == [
            job_id
        ]
    assert store.list(after=None, limit=5, metadata={"a": "b:cü"}).items == ()


def test_a_job_that_is_gone_is_on_no_list(redis: Redis, store: JobStore) -> None:
    kept = store.create(spec(metadata={"team": "a"}), owner="alice")
    gone = store.create(spec(metadata={"team": "a"}), owner="alice")
    store.cancel(gone.id)
    assert store.deleted.delete_old(gone, min_age_seconds=0)
    for each in (keys.JOBS, keys.jobs_of("alice"), keys.jobs_tagged("team", "a")):
        assert redis.zrange(each, 0, -1) == [kept.id]
