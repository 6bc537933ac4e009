"""The webhooks file: what it says, and how it says what is wrong with it."""

from pathlib import Path

import pytest

from tests.worker.webhooks.receiver import SECRET
from worker.daemon import ReloadingConfigFile
from worker.jobs.job import Status
from worker.webhooks.endpoints import WebhooksFileError, read_endpoints

GOOD = f"""# who is told
[ci]
url = "https://ci.example.org/hook?token=sesame"
secret = "{SECRET}"

[alice]
url = "http://10.0.0.7:8080/"
secret = "{SECRET}"
owner = "alice"
events = ["fine_tuning.job.failed"]
"""
SHORT = "whsec_c2hvcnQ="


def written(directory: Path, text: str) -> Path:
    path = directory / "webhooks.toml"
    path.write_text(text)
    return path


def test_each_table_is_an_endpoint(tmp_path: Path) -> None:
    ci, alice = read_endpoints(written(tmp_path, GOOD))
    ends = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
    all_ends = ci.subscription(max_age_seconds=9)
    assert (all_ends.endpoint, all_ends.owner, all_ends.statuses) == ("ci", "*", ends)
    hers = alice.subscription(max_age_seconds=9)
    assert (hers.owner, hers.statuses) == ("alice", frozenset({Status.FAILED}))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("https://ci", "ftp://ci", r"line 2: endpoint 'ci': field 'url': not an http or https URL"),
        ("https://ci.example.org", "https://", "field 'url': not an http or https URL"),
        (
            "10.0.0.7:8080",
            "10.0.0.7:port",
            r"line 6: endpoint 'alice': field 'url': not an http or https URL",
        ),
        (SECRET, SHORT, r"field 'secret': it has 5 bytes; expected `whsec_` and 24 to 64 random"),
        ("whsec_", "", r"field 'secret': it does not begin with `whsec_`"),
        (SECRET, "whsec_%%%", r"field 'secret': the part after `whsec_` is not base64"),
        ('owner = "alice"', 'owner = ""', r"line 6: endpoint 'alice': field 'owner'"),
        ("job.failed", "job.fails", r"found 'fine_tuning.job.fails'; expected some of fine_tuning"),
        ('["fine_tuning.job.failed"]', "[]", r"field 'events': found none; expected some of"),
        ("owner =", "onwer =", r"line 6: endpoint 'alice': field 'onwer': Extra inputs"),
        ("[ci]", "ci = 3", r"endpoint 'ci': found a value; expected a table"),
        ("[ci]", '["a b"]', r"line 2: endpoint 'a b': expected a name of 1 to 64"),
        ("[ci]", "[ci", r"is not valid TOML: .*\(at line 2"),
        (f'secret = "{SECRET}"\n\n', "\n", "endpoint 'ci': field 'secret': Field required"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_without_what_is_secret(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in GOOD
    with pytest.raises(WebhooksFileError, match=expected) as caught:
        read_endpoints(written(tmp_path, GOOD.replace(old, new)))
    assert "sesame" not in str(caught.value)
    assert SECRET.removeprefix("whsec_") not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WebhooksFileError, match=r"none\.toml can't be read"):
        read_endpoints(tmp_path / "none.toml")


def test_a_change_counts_and_a_broken_one_is_told_once(tmp_path: Path) -> None:
    file = ReloadingConfigFile(written(tmp_path, GOOD), read_endpoints)
    before = file.content
    assert not file.refresh()
    written(tmp_path, GOOD + "[broken")
    with pytest.raises(WebhooksFileError, match="TOML"):
        file.refresh()
    assert not file.refresh()
    assert file.content == before
    written(tmp_path, "")
    assert file.refresh()
    assert file.content == ()
