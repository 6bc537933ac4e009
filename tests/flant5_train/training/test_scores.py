import pytest

from flant5_train.training.evaluation import exact_match, rouge_l


@pytest.mark.parametrize(
    ("given", "expected", "is_same"),
    [
        ("O(1) on average.\n", "O(1) on average.", True),
        ("o(1) on average.", "O(1) on average.", False),
        ("", "O(1)", False),
    ],
)
def test_an_exact_match_is_one_but_for_the_space_around(
    given: str, expected: str, is_same: bool
) -> None:
    assert exact_match(given, expected) is is_same


@pytest.mark.parametrize(
    ("given", "expected", "score"),
    [
        ("The cat sat.", "the cat sat down", 6 / 7),
        ("police killed the gunman", "police kill the gunman", 0.75),
        ("gunman the police killed", "police killed the gunman", 0.5),
        ("Привет, мир", "привет мир", 1.0),
        ("yes", "no", 0.0),
        ("", "", 0.0),
    ],
)
def test_rouge_l_is_the_longest_common_sequence_of_words(
    given: str, expected: str, score: float
) -> None:
    assert rouge_l(given, expected) == pytest.approx(score)
