"""Pushes the final model of a job to a model hub as one commit.

Import it only in a separate process: `huggingface_hub` has process-wide settings.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, set_client_factory
from huggingface_hub.utils._http import default_client_factory
from huggingface_hub.utils.tqdm import disable_progress_bars

from worker.integrations.hub_error import HubError, hub_error

CONNECT_SECONDS = 30.0
ANSWER_SECONDS = 300.0
"""Read timeout in seconds. Long, because a commit of many files takes long."""

_SUFFIXES = frozenset({".json", ".safetensors", ".model", ".jinja", ".txt", ".md", ".png"})
"""Suffixes of model files. Excludes checkpoints (folders), optimizers and arguments (pickles)."""
_KEPT_HERE = frozenset({"trainer_state.json", "flant5_run.json"})
"""Files needed only to resume a run in this service. The model card has their content."""
_OF_A_MODEL = re.compile(
    r".*\.safetensors(\.index\.json)?|(pytorch|tf|flax)_model.*|adapter_config\.json"
    r"|flant5_adapter\.json|spiece\.model|tokenizer.*\.json|special_tokens_map\.json"
    r"|added_tokens\.json|chat_template\.jinja"
)
"""Files of an earlier model that a loader would mistake for this model's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Destination of a model."""

    endpoint: str
    repository: str
    """`namespace/name`."""
    is_private: bool = True
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Pushed:
    """Result of a push."""

    url: str
    """URL of the commit."""


def model_files(directory: Path) -> list[Path]:
    """Returns the files to push from a final model's directory.

    Raises HubError if the directory has no model.
    """
    files = sorted(
        path
        for path in (directory.iterdir() if directory.is_dir() else ())
        if path.is_file() and path.suffix in _SUFFIXES and path.name not in _KEPT_HERE
    )
    names = {path.name for path in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        shown = ", ".join(sorted(names)) or "nothing"
        raise HubError(
            f"the final model is missing: found {shown} in {directory.name}; expected config.json "
            "and *.safetensors",
            is_final=True,
        )
    return files


def push(directory: Path, *, place: Place, token: str, message: str) -> Pushed:
    """Pushes the model in `directory` as one commit with that message, and returns the commit.

    Files that exist on the hub are not uploaded again. If all exist, no commit is created. Creates
    the repository if needed, and keeps files in it that do not belong to a model.

    Raises HubError.
    """
    files = model_files(directory)
    set_client_factory(_client)
    disable_progress_bars()
    try:
        return _push(files, place=place, api=HfApi(place.endpoint, token=token), message=message)
    except HubError:
        raise
    except (httpx2.HTTPError, ValueError, RuntimeError, OSError) as error:
        # The client raises ValueError and RuntimeError for responses it cannot parse, and for
        # errors of its Xet parts.
        raise hub_error(error) from error


def _client() -> httpx2.Client:
    """Returns a client with timeouts. The library's default client waits forever."""
    client = default_client_factory()
    client.timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
    return client


def _push(files: list[Path], *, place: Place, api: HfApi, message: str) -> Pushed:
    name, revision = place.repository, place.revision
    api.create_repo(name, private=place.is_private, exist_ok=True)
    if place.is_private and not api.model_info(name).private:
        raise HubError(
            f"{name} exists and is public; expected a private repository, as the job asked for "
            '("private": false pushes to a public one)',
            is_final=True,
        )
    if revision != "main":
        api.create_branch(name, branch=revision, exist_ok=True)
    head = api.model_info(name, revision=revision)
    names = {path.name for path in files}
    there = [each.rfilename for each in head.siblings or ()]
    stale = [path for path in there if path not in names and _OF_A_MODEL.fullmatch(path)]
    commit = api.create_commit(
        name,
        [
            *(CommitOperationDelete(path) for path in stale),
            *(CommitOperationAdd(path.name, path) for path in files),
        ],
        commit_message=message,
        revision=revision,
        # Without this, two concurrent pushes could leave a mixture of two models.
        parent_commit=head.sha,
    )
    return Pushed(commit.commit_url)
