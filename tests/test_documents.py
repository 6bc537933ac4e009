"""What the documents say of the code has to be true."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings

from api.cli.main import app
from api.cli.settings import ClientSettings, KeysSettings, UpSettings
from api.settings import ApiSettings
from flant5_train.protocol.progress import parse_record
from worker.integrations.settings import IntegrationSettings
from worker.serving.process import InferenceSettings
from worker.settings import WorkerSettings
from worker.webhooks.endpoints import WebhookSettings

REPOSITORY = Path(__file__).parents[1]


def test_each_record_in_the_progress_format_is_one() -> None:
    text = (REPOSITORY / "docs" / "progress-format.md").read_text(encoding="utf-8")
    records = re.findall(r"```json\n(.*?)\n```", text, re.DOTALL)
    kinds = [parse_record(record).type for record in records]
    named = re.findall(r"^\*\*(\w+)\*\*", text, re.MULTILINE)
    assert kinds == named
    assert all(json.loads(record) for record in records)


def test_each_setting_is_in_the_example_environment() -> None:
    listed = set(example_environment())
    service = (ApiSettings, WorkerSettings, InferenceSettings, WebhookSettings, IntegrationSettings)
    groups = (*service, ClientSettings, UpSettings, KeysSettings)
    known = {f"FLANT5_{name.upper()}" for group in groups for name in group.model_fields}
    assert {name for name in listed if name not in compose_variables()} == known


def test_what_the_compose_file_takes_is_in_the_example_environment_with_its_default() -> None:
    listed = example_environment()
    taken = compose_variables()
    assert len(taken) > 10
    assert {name: listed.get(name) for name in taken} == taken


def test_each_setting_of_a_process_reaches_its_container() -> None:
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text("utf-8"))["services"]
    # Its own among all: the host name of a container is.
    assert missing(WorkerSettings, services["worker"], services["controller"]) == {"WORKER_NAME"}
    assert missing(ApiSettings, services["api"]) == set()
    assert missing(InferenceSettings, services["serve"]) == {"INFERENCE_NAME"}
    assert missing(WebhookSettings, services["webhooks"]) == set()
    assert missing(IntegrationSettings, services["integrations"]) == set()


def missing(settings: type[BaseSettings], *services: dict[str, Any]) -> set[str]:
    """Settings that no service gets, without their prefix."""
    given = {name for service in services for name in service["environment"]}
    return {name.upper() for name in settings.model_fields if f"FLANT5_{name.upper()}" not in given}


def example_environment() -> dict[str, str]:
    text = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    return dict(re.findall(r"^(FLANT5_\w+)=(.*)$", text, re.MULTILINE))


def compose_variables() -> dict[str, str]:
    """What the compose file takes from the environment, with the defaults."""
    text = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    return dict(re.findall(r"\$\{(FLANT5_\w+):-([^}]*)\}", text))


def test_each_page_linked_from_the_readme_exists() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    pages = set(re.findall(r"\]\((docs/[\w./-]+)", text))
    assert len(pages) >= 15
    for path in pages:
        assert (REPOSITORY / path).exists(), path


def test_each_command_in_the_documents_is_one() -> None:
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    files = [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]
    for file in files:
        text = file.read_text(encoding="utf-8")
        named = set(re.findall(r"(?:`|^    )flant5 ([a-z]+)", text, re.MULTILINE))
        named |= set(re.findall(r"exec api flant5 ([a-z]+)", text))
        assert named <= known, file


def test_each_command_is_in_the_document_of_the_command_line() -> None:
    text = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    known = {str(command.name) for command in app.registered_commands}
    known |= {str(group.name) for group in app.registered_groups}
    assert [name for name in sorted(known) if f"flant5 {name}" not in text] == []


def test_each_package_has_a_line_in_contributing() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^    ((?:api|worker|flant5_train)[\w/]*)/ ", text, re.MULTILINE))
    packages = {
        str(path.parent.relative_to(REPOSITORY))
        for top in ("api", "worker", "flant5_train")
        for path in (REPOSITORY / top).rglob("__init__.py")
    }
    assert listed - {"worker/jobs/lua"} == packages
