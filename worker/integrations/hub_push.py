"""Pushes the final model of a job to a Hugging Face Hub as one commit.

Errors of a push become messages for API callers, with a retry decision. Import this module only in
a separate process: `huggingface_hub` reads its environment on import and has process-wide settings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils._http import default_client_factory
from huggingface_hub.utils.tqdm import disable_progress_bars

from worker.jobs.logging import redacted

_AGAIN = frozenset({408, 409, 412, 425, 429})
"""Retryable client error statuses. 409 and 412: another commit came first."""
_MAX_WORDS = 300


class HubError(Exception):
    """A push failed. `is_final`: a retry would fail in the same way."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


def hub_error(error: Exception) -> HubError:
    """Converts an error of `huggingface_hub`.

    The library wraps the hub's responses into other errors, so all causes are searched.
    """
    for each in _causes(error):
        if isinstance(each, HfHubHTTPError):
            return _refusal(each)
        if isinstance(each, HFValidationError):
            return HubError(_short(str(each)), is_final=True)
    *_, first = _causes(error)
    return HubError(_short(f"{type(first).__name__}: {first}"), is_final=False)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _refusal(error: HfHubHTTPError) -> HubError:
    status = error.response.status_code
    request = error.response.request
    detail = error.server_message or error.response.reason_phrase
    where = f"{request.method} {urlsplit(str(request.url)).path}"
    is_final = status < 500 and status not in _AGAIN
    return HubError(f"the hub answered {status} to {where}: {_short(detail)}", is_final=is_final)


def _short(text: str) -> str:
    line = redacted(" ".join(text.split()))
    return line if len(line) <= _MAX_WORDS else f"{line[: _MAX_WORDS - 3]}..."


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
class HubTarget:
    """Destination of a model."""

    endpoint: str
    repository: str
    """`namespace/name`."""
    is_private: bool = True
    revision: str = "main"


@dataclass(frozen=True, slots=True)
class PushResult:
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


def push(directory: Path, *, target: HubTarget, token: str, message: str) -> PushResult:
    """Pushes the model in `directory` as one commit with that message, and returns the commit.

    Files that exist on the hub are not uploaded again. If all exist, no commit is created. Creates
    the repository if needed, and keeps files in it that do not belong to a model.

    Raises HubError.
    """
    files = model_files(directory)
    set_client_factory(_client)
    disable_progress_bars()
    try:
        return _push(files, target=target, api=HfApi(target.endpoint, token=token), message=message)
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


def _push(files: list[Path], *, target: HubTarget, api: HfApi, message: str) -> PushResult:
    name, revision = target.repository, target.revision
    api.create_repo(name, private=target.is_private, exist_ok=True)
    if target.is_private and not api.model_info(name).private:
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
    return PushResult(commit.commit_url)
