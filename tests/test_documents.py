"""What the documents say of the code has to be true."""

import json
import re
from pathlib import Path

from api.cli.main import app
from api.cli.settings import ClientSettings, KeysSettings, UpSettings
from api.settings import ApiSettings
from flant5_train.progress import parse_record
from worker.settings import WorkerSettings

REPOSITORY = Path(__file__).parents[1]


def test_each_record_in_the_progress_format_is_one() -> None:
    text = (REPOSITORY / "docs" / "progress-format.md").read_text(encoding="utf-8")
    records = re.findall(r"```json\n(.*?)\n```", text, re.DOTALL)
    kinds = [parse_record(record).type for record in records]
    named = re.findall(r"^\*\*(\w+)\*\*", text, re.MULTILINE)
    assert kinds == named
    assert all(json.loads(record) for record in records)


def test_each_setting_is_in_the_example_environment() -> None:
    text = (REPOSITORY / ".env.example").read_text(encoding="utf-8")
    listed = set(re.findall(r"^(FLANT5_\w+)=", text, re.MULTILINE))
    groups = (ApiSettings, WorkerSettings, ClientSettings, UpSettings, KeysSettings)
    known = {f"FLANT5_{name.upper()}" for group in groups for name in group.model_fields}
    assert listed == known


def test_each_folder_of_the_readme_exists() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    folders = re.findall(r"^    ([\w/]+)/ {2,}", text, re.MULTILINE)
    assert len(folders) >= 8
    for path in [*folders, *re.findall(r"\]\((docs/[\w./-]+)\)", text)]:
        assert (REPOSITORY / path).exists(), path
    for path in re.findall(r"`(flant5_train/\w+\.py)`", text):
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
