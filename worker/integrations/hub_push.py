"""The final model of a job, pushed to a model hub as one commit.

Imported in a process of its own only: `huggingface_hub` has settings that hold for a whole process.
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
"""Time without a byte after which the hub counts as silent: a commit of many files takes long."""

_SUFFIXES = frozenset({".json", ".safetensors", ".model", ".jinja", ".txt", ".md", ".png"})
"""What a model is made of. Checkpoints are folders; optimizers and arguments are pickles."""
_KEPT_HERE = frozenset({"trainer_state.json", "flant5_run.json"})
"""They are for a run that goes on in this service; the model card has what they hold."""
_OF_A_MODEL = re.compile(
    r".*\.safetensors(\.index\.json)?|(pytorch|tf|flax)_model.*|adapter_config\.json"
    r"|flant5_adapter\.json|spiece\.model|tokenizer.*\.json|special_tokens_map\.json"
    r"|added_tokens\.json|chat_template\.jinja"
)
"""Files of an earlier model that a loader would take for this one's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model goes."""

    endpoint: str
    repository: str
    """`namespace/name`."""
    is_private: bool = True
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to."""

    url: str
    """Of the commit."""


def model_files(directory: Path) -> list[Path]:
    """What of a final model's directory is pushed. Raises HubError when no model is in it."""
    files = sorted(
        path
        for path in (directory.iterdir() if directory.is_dir() else ())
        if path.is_file() and path.suffix in _SUFFIXES and path.name not in _KEPT_HERE
    )
    names = {path.name for path in files}
    if "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        shown = ", ".join(sorted(names)) or "nothing"
        raise HubError(
            f"the final model is gone: found {shown} in {directory.name}; expected config.json "
            "and *.safetensors",
            is_final=True,
        )
    return files


def push(directory: Path, *, place: Place, token: str, message: str) -> Pushed:
    """Pushes the model in `directory` as one commit with that message, and returns it. What is
    there already, is not uploaded again, and when all of it is, no commit is made.

    The repository is made when there is none; files in it that are not a model's stay. Raises
    HubError.
    """
    files = model_files(directory)
    set_client_factory(_client)
    disable_progress_bars()
    try:
        return _push(files, place=place, api=HfApi(place.endpoint, token=token), message=message)
    except HubError:
        raise
    except (httpx2.HTTPError, ValueError, RuntimeError, OSError) as error:
        # ValueError and RuntimeError: how the client words answers it doesn't understand, and
        # what its parts for Xet have to say.
        raise hub_error(error) from error


def _client() -> httpx2.Client:
    """The library's own waits for ever."""
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
        # Two jobs that push to one repository must not end as a mixture of two models.
        parent_commit=head.sha,
    )
    return Pushed(commit.commit_url)
