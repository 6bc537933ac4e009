"""Job specs and announcements of uploads with a wrong value, a wrong name or a wrong place.

None of them can be carried out whatever the value: another field is wrong too, and is looked at
last.
"""

from collections.abc import Iterator
from itertools import product
from typing import Any

from api.schemas.files import CompleteUpload, CreateUpload
from api.schemas.jobs import CreateJob, RequestedHyperparameters
from tests.security.corpus.values import ANY
from tests.security.malformed import Malformed, post_json, with_value
from tests.security.victim import Victim

_JOBS = "/v1/fine_tuning/jobs"
_SPEC: dict[str, Any] = {"model": "flant5-demo", "training_file": "no-such-file.json"}
_METHOD = {"type": "supervised", "supervised": {"hyperparameters": {}}}
_NAMES = (
    "",
    " ",
    "model ",
    "Model",
    "MODEL",
    "__init__",
    "__dict__",
    "__proto__",
    "constructor",
    "training_file\x00",
    "trаining_file",
    "output_dir",
    "deepspeed",
    "trust_remote_code",
    "hub_token",
    "report_to",
    "command",
    "env",
    "\ud800",
    "a" * 70_000,
    "<script>",
)


def specs(victim: Victim) -> Iterator[Malformed]:
    """Every field of a job with every odd value, and fields that there are not."""
    for name, value in product(CreateJob.model_fields, ANY):
        spec = with_value(_SPEC | {"model": "no-such-model"}, name, value)
        yield post_json(_JOBS, spec)
    for number, (name, value) in enumerate(product(RequestedHyperparameters.model_fields, ANY)):
        place = ("hyperparameters", "method.supervised.hyperparameters")[number % 2]
        spec = _SPEC | {"method": _METHOD} if number % 2 else _SPEC
        yield post_json(_JOBS, with_value(spec, f"{place}.{name}", value))
    for name in _NAMES:
        for place in ("", "hyperparameters.", "method.", "method.supervised.", "metadata."):
            yield post_json(_JOBS, with_value(_SPEC, f"{place}{name}", 1))
    for key, value in product(("k", "", "a" * 65, "\x00", "\ud800", "metadata[a]"), ANY):
        yield post_json(_JOBS, _SPEC | {"metadata": {key: value}})
    yield post_json(_JOBS, _SPEC | {"metadata": {str(each): "" for each in range(17)}})
    yield post_json(_JOBS, _SPEC | {"metadata": {str(each): "" for each in range(20_000)}})


def real_specs(victim: Victim) -> Iterator[Malformed]:
    """Jobs that could be carried out but for one value, which is no value of that field."""
    spec = {"model": "flant5-demo", "training_file": victim.file_id}
    for name, value in product(CreateJob.model_fields, ([[1]], {"x": [1]}, 10**400)):
        yield post_json(_JOBS, with_value(spec, name, value))
    for name, value in product(RequestedHyperparameters.model_fields, ([[1]], {"x": 1}, "\x00")):
        yield post_json(_JOBS, with_value(spec, f"hyperparameters.{name}", value))


def announcements(victim: Victim) -> Iterator[Malformed]:
    """Uploads that are too large, or something worse."""
    too_large = {
        "bytes": 10**15,
        "filename": "a.jsonl",
        "mime_type": "text/jsonl",
        "purpose": "fine-tune",
    }
    for name, value in product(CreateUpload.model_fields, ANY):
        base = too_large | {"purpose": "assistants"} if name == "bytes" else too_large
        yield post_json("/v1/uploads", with_value(base, name, value))
    for name in _NAMES:
        yield post_json("/v1/uploads", too_large | {name: 1})
    for upload_id in (victim.upload_id, "upload_" + "0" * 26):
        path = f"/v1/uploads/{upload_id}/complete"
        for name, value in product(CompleteUpload.model_fields, ANY):
            yield post_json(path, with_value({"part_ids": ["part_" + "0" * 26]}, name, value))
        for value in ANY:
            yield post_json(path, {"part_ids": [value]})
        yield post_json(path, {"part_ids": [""] * 10_001})
