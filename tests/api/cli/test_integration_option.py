"""What `flant5 submit --integration` sends, and refuses."""

import pytest

from api.cli.client import CommandError
from api.cli.options import integration


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("wandb:project=a,tags=x,tags=y", {"project": "a", "tags": ["x", "y"]}),
        ("mlflow:experiment=a=b", {"experiment": "a=b"}),
        (
            "huggingface:repository=org/name,private=false",
            {"repository": "org/name", "private": False},
        ),
    ],
)
def test_an_integration_is_written_as_one_word(text: str, settings: object) -> None:
    kind = text.partition(":")[0]
    assert integration(text) == {"type": kind, kind: settings}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("wandb", "expected TYPE:NAME=VALUE"),
        ("comet:project=a", "types are wandb, mlflow, huggingface"),
        ("wandb:project", "found 'project'"),
        ("wandb:project=a,project=b", "project is given twice"),
    ],
)
def test_what_is_no_integration_is_refused_before_anything_is_sent(
    text: str, expected: str
) -> None:
    with pytest.raises(CommandError, match=expected):
        integration(text)
