from flant5_train.training.evaluation import RankShard, sample_rows, share_of


def test_the_sample_is_the_same_every_time_and_of_distinct_rows() -> None:
    rows = sample_rows(100, count=10, seed=1)
    assert rows == sample_rows(100, count=10, seed=1)
    assert rows != sample_rows(100, count=10, seed=2)
    assert len(set(rows)) == 10


def test_a_small_set_is_the_whole_sample() -> None:
    assert sorted(sample_rows(4, count=10, seed=1)) == [0, 1, 2, 3]


def test_processes_share_the_sample_and_call_the_model_equally_often() -> None:
    rows = (5, 1, 4, 9, 8)
    shares = [share_of(rows, process=process, num_processes=3) for process in range(3)]
    assert shares == [RankShard((5, 9), 2), RankShard((1, 8), 2), RankShard((4, 5), 1)]
    counted = [row for share in shares for row in share.rows[: share.num_counted]]
    assert sorted(counted) == sorted(rows)


def test_more_processes_than_pairs_leave_some_with_nothing_to_count() -> None:
    assert share_of((7,), process=1, num_processes=2) == RankShard((7,), 0)
