"""The programs of docs/clients.md, each with its client, against the real API."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from api.app import create_app
from api.settings import ApiSettings
from tests import environments
from tests.api.chat_scenes import Server, echo

pytestmark = pytest.mark.stack

_ROOT = Path(__file__).parents[2]
_DOCUMENT = (_ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
_PYTHON = (
    "langchain-openai==1.7.4",
    "pydantic-ai-slim[openai]==2.68.0",
    "openai-agents==0.24.0",
    "haystack-ai==3.4.1",
)
_NPM = ("ai@7.0.173", "@ai-sdk/openai-compatible@2.0.92")
_QUESTION = "What is a lease?"
_SECONDS = 300.0


def programs(language: str) -> list[str]:
    section = _DOCUMENT.partition("## Chat")[2].partition("## Statuses")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)


def answer_of(argv: list[str], **options: object) -> str:
    done = subprocess.run(  # type: ignore[call-overload]
        argv, capture_output=True, text=True, timeout=_SECONDS, check=False, **options
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return str(done.stdout).strip()


def pointed_at(url: str, model: str, program: str) -> str:
    shown = ("http://127.0.0.1:8000/v1", "ft:flant5-demo:flant5::abcdefgh")
    for name, here in zip(shown, (url, model), strict=True):
        assert name in program
        program = program.replace(name, here)
    return program


def plain_environment() -> dict[str, str]:
    """Returns this process's environment without settings of a client or of ours."""
    left_out = ("OPENAI_", "FLANT5_", "PYTHON")
    return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


@pytest.mark.parametrize("number", range(len(_PYTHON)), ids=[each[:16] for each in _PYTHON])
def test_a_python_client_asks_by_the_lines_of_the_document(
    number: int,
    settings: ApiSettings,
    serve: Callable[[FastAPI], str],
    model: str,
    redis_url: SecretStr,
) -> None:
    python = environments.interpreter_with(*_PYTHON)
    program = programs("python")[number]
    url = serve(create_app(settings))
    with Server(redis_url, echo):
        argv = [str(python), "-c", pointed_at(url, model, program)]
        answer = answer_of(argv, env=plain_environment())
    assert answer == _QUESTION


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_the_ai_sdk_asks_by_the_lines_of_the_document(
    settings: ApiSettings, serve: Callable[[FastAPI], str], model: str, redis_url: SecretStr
) -> None:
    (program,) = programs("javascript")
    directory = environments.node_modules_with(*_NPM)
    url = serve(create_app(settings))
    with Server(redis_url, echo):
        argv = ["node", "--input-type=module", "--eval", pointed_at(url, model, program)]
        assert answer_of(argv, cwd=directory, env=plain_environment()) == _QUESTION
