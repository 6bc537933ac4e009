"""The integrations file: what it says, and how it says what is wrong with it."""

from pathlib import Path

import pytest

from worker.daemon import ReloadingConfigFile
from worker.integrations.accounts import (
    IntegrationsFileError,
    MlflowAccount,
    WandbAccount,
    read_accounts,
)

GOOD = """# accounts
[wandb]
api_key = "sesame"
owners = ["alice"]

[mlflow]
tracking_uri = "https://mlflow.example.org/"
username = "flant5"
password = "sesame"
"""


def written(directory: Path, text: str) -> Path:
    path = directory / "integrations.toml"
    path.write_text(text)
    return path


def test_each_table_is_an_account(tmp_path: Path) -> None:
    accounts = read_accounts(written(tmp_path, GOOD))
    wandb, mlflow = accounts["wandb"], accounts["mlflow"]
    assert isinstance(wandb, WandbAccount)
    assert isinstance(mlflow, MlflowAccount)
    assert (wandb.is_for("alice"), wandb.is_for("bob"), mlflow.is_for("bob")) == (True, False, True)
    assert mlflow.tracking_uri == "https://mlflow.example.org"
    assert "sesame" not in repr(accounts)
    assert MlflowAccount.model_validate(mlflow.revealed()) == mlflow


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[wandb]", "[comet]", r"\[comet\] is unknown; expected some of wandb, mlflow"),
        ("[wandb]", "wandb = 3", "wandb: found a value; expected a table"),
        ("[wandb]", "[wandb", r"is not valid TOML: .*\(at line 2"),
        ('api_key = "sesame"', "", r"\[wandb\]: api_key: missing"),
        ('api_key = "sesame"', 'api_key = ""', r"\[wandb\]: api_key: .* at least 1 "),
        ('["alice"]', "[]", r"\[wandb\]: owners: "),
        ("https://mlflow", "https://me:sesame@mlflow", r"\[mlflow\]: tracking_uri: not a plain"),
        ("https://mlflow.example.org/", "mlruns", r"\[mlflow\]: tracking_uri: not a plain http"),
        ('password = "sesame"', "", r"\[mlflow\]: expected username and password, or neither"),
        ("[mlflow]", '[mlflow]\ntoken = "sesame"', "found a username and a token"),
        ("username", "user", r"\[mlflow\]: user: Extra inputs"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_without_what_is_secret(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    with pytest.raises(IntegrationsFileError, match=expected) as refused:
        read_accounts(written(tmp_path, GOOD.replace(old, new)))
    assert "integrations.toml" in str(refused.value)
    assert "sesame" not in str(refused.value)


def test_a_change_counts_when_it_is_good(tmp_path: Path) -> None:
    file = ReloadingConfigFile(written(tmp_path, GOOD), read_accounts)
    written(tmp_path, "[wandb\n")
    with pytest.raises(IntegrationsFileError):
        file.refresh()
    file.refresh()
    assert file.content.keys() == {"wandb", "mlflow"}
    written(tmp_path, '[wandb]\nmode = "offline"\n')
    file.refresh()
    assert file.content.keys() == {"wandb"}
