"""All calls, ordered so that each finds its prerequisites."""

from collections.abc import Sequence
from dataclasses import dataclass

from examples.api_calls.call import Call

_V1 = "$FLANT5_URL/v1"
_JOBS = f"{_V1}/fine_tuning/jobs"
_AS_JSON = "-H 'Content-Type: application/json'"
_JOB_PATH = "/v1/fine_tuning/jobs/{job_id}"
_SPEC = (
    '{{"model": "flant5-demo", "training_file": "{{file}}",{extra}\n'
    '    "method": {{"type": "supervised", "supervised": {{"hyperparameters": {{\n'
    '        "max_steps": {steps}, "per_device_train_batch_size": 4, "model_max_length": 128,\n'
    '        "validation_split": 0.1, "eval_steps": 5, "save_steps": 5}}}}}}}}'
)


_CHAT = (
    '{{"model": "{{model}}", "max_tokens": 16{extra},\n'
    '    "messages": [{{"role": "user", "content": "What is the capital of Australia?"}}]}}'
)


@dataclass(frozen=True, slots=True)
class Leg:
    """One section of the tour."""

    title: str
    calls: Sequence[Call]
    ends: str = ""
    """Name of the id of a job. After the calls, the tour waits for its end."""


def _get(url: str) -> str:
    return f'curl -s "{url}" -H "$AUTH"'


def _post(url: str, body: str = "") -> str:
    data = f" \\\n    {_AS_JSON} -d '{body}'" if body else ""
    return f'curl -s -X POST "{url}" -H "$AUTH"{data}'


def _delete(url: str) -> str:
    return f'curl -s -X DELETE "{url}" -H "$AUTH"'


FILES = Leg(
    "Files",
    (
        Call(
            "POST /v1/files",
            f'curl -s "{_V1}/files" -H "$AUTH" -F purpose=fine-tune -F file=@talks.jsonl',
            keeps={"file": "id"},
        ),
        Call("GET /v1/files", _get(f"{_V1}/files?limit=2&purpose=fine-tune")),
        Call("GET /v1/files/{file_id}", _get(f"{_V1}/files/{{file}}")),
        Call(
            "GET /v1/files/{file_id}/content",
            f"{_get(f'{_V1}/files/{{file}}/content')} | head -n 1",
        ),
        Call(
            "GET /v1/files/{file_id}/report",
            _get(f"{_V1}/files/{{file}}/report?model=flant5-demo&model_max_length=128"),
        ),
    ),
)
UPLOADS = Leg(
    "Uploads",
    (
        Call(
            "POST /v1/uploads",
            _post(
                f"{_V1}/uploads",
                '{"purpose": "fine-tune", "filename": "talks.jsonl", "bytes": 800, '
                '"mime_type": "text/jsonl"}',
            ),
            keeps={"upload": "id"},
        ),
        Call(
            "POST /v1/uploads/{upload_id}/parts",
            f'curl -s "{_V1}/uploads/{{upload}}/parts" -H "$AUTH" -F data=@part.aa',
            keeps={"part_1": "id"},
        ),
        Call(
            "POST /v1/uploads/{upload_id}/parts",
            f'curl -s "{_V1}/uploads/{{upload}}/parts" -H "$AUTH" -F data=@part.ab',
            keeps={"part_2": "id"},
        ),
        Call("GET /v1/uploads/{upload_id}/parts", _get(f"{_V1}/uploads/{{upload}}/parts")),
        Call(
            "POST /v1/uploads/{upload_id}/complete",
            _post(f"{_V1}/uploads/{{upload}}/complete", '{"part_ids": ["{part_1}", "{part_2}"]}'),
        ),
        Call("GET /v1/uploads/{upload_id}", _get(f"{_V1}/uploads/{{upload}}")),
        Call(
            "POST /v1/uploads",
            _post(
                f"{_V1}/uploads",
                '{"purpose": "fine-tune", "filename": "a", "bytes": 9, "mime_type": "text/jsonl"}',
            ),
            says="An upload that is cancelled:",
            keeps={"upload_2": "id"},
        ),
        Call("POST /v1/uploads/{upload_id}/cancel", _post(f"{_V1}/uploads/{{upload_2}}/cancel")),
    ),
)
JOBS = Leg(
    "Jobs",
    (
        Call(
            "POST /v1/fine_tuning/jobs/plan",
            _post(f"{_JOBS}/plan", _SPEC.format(steps=10, extra="")),
            says="Before a job is submitted:",
        ),
        Call(
            "POST /v1/fine_tuning/jobs",
            _post(
                _JOBS,
                _SPEC.format(steps=10, extra=' "suffix": "talks", "metadata": {"team": "a"},'),
            ),
            keeps={"job": "id"},
        ),
        Call(
            "POST /v1/fine_tuning/jobs",
            _post(_JOBS, _SPEC.format(steps=10, extra="")),
            says="Another job, to demonstrate pause, resume and cancel of a queued job:",
            keeps={"job_2": "id"},
        ),
        Call(f"POST {_JOB_PATH}/pause", _post(f"{_JOBS}/{{job_2}}/pause")),
        Call(f"POST {_JOB_PATH}/resume", _post(f"{_JOBS}/{{job_2}}/resume")),
        Call(f"POST {_JOB_PATH}/cancel", _post(f"{_JOBS}/{{job_2}}/cancel")),
    ),
    ends="job",
)
ENDED = Leg(
    "A finished job",
    (
        Call(f"GET {_JOB_PATH}", _get(f"{_JOBS}/{{job}}"), keeps={"model": "fine_tuned_model"}),
        Call(
            "GET /v1/fine_tuning/jobs",
            _get(f"{_JOBS}?limit=1&metadata[team]=a").replace("-s", "-sg"),
        ),
        Call(f"GET {_JOB_PATH}/events", _get(f"{_JOBS}/{{job}}/events?limit=3")),
        Call(
            f"GET {_JOB_PATH}/events",
            f"{_get(f'{_JOBS}/{{job}}/events')} -N -H 'Accept: text/event-stream' | head -n 8",
            says="The same as a live stream, from its beginning:",
        ),
        Call(f"GET {_JOB_PATH}/logs", _get(f"{_JOBS}/{{job}}/logs?tail=2")),
        Call(f"GET {_JOB_PATH}/checkpoints", _get(f"{_JOBS}/{{job}}/checkpoints?limit=1")),
        Call(f"GET {_JOB_PATH}/metrics", _get(f"{_JOBS}/{{job}}/metrics")),
        Call(f"GET {_JOB_PATH}/artifacts", _get(f"{_JOBS}/{{job}}/artifacts")),
        Call(
            f"GET {_JOB_PATH}/artifacts/{{path}}",
            _get(f"{_JOBS}/{{job}}/artifacts/model.safetensors")
            + " -o model.safetensors \\\n    -w '%{http_code} %{size_download} bytes\\n'",
        ),
    ),
)
MODELS = Leg(
    "Models",
    (
        Call("GET /v1/models", _get(f"{_V1}/models")),
        Call("GET /v1/models/{model}", _get(f"{_V1}/models/{{model}}:ckpt-step-5")),
        Call(
            "POST /v1/chat/completions",
            _post(f"{_V1}/chat/completions", _CHAT.format(extra="")),
            says="(A model that was trained for ten steps gives poor answers.)",
        ),
        Call(
            "POST /v1/chat/completions",
            _post(f"{_V1}/chat/completions", _CHAT.format(extra=', "stream": true'))
            + " -N \\\n    | head -n 4",
            says="The same, token by token:",
        ),
        Call(
            f"DELETE {_JOB_PATH}/checkpoints/{{checkpoint}}",
            _delete(f"{_JOBS}/{{job}}/checkpoints/5"),
        ),
        Call("DELETE /v1/models/{model}", _delete(f"{_V1}/models/{{model}}")),
        Call(f"DELETE {_JOB_PATH}", _delete(f"{_JOBS}/{{job_2}}")),
        Call("DELETE /v1/files/{file_id}", _delete(f"{_V1}/files/{{file}}")),
    ),
)
SERVICE = Leg(
    "The service",
    (
        Call("POST /v1/recover", _post(f"{_V1}/recover")),
        Call("GET /v1/recover", _get(f"{_V1}/recover")),
        Call("GET /healthz", 'curl -s "$FLANT5_URL/healthz"'),
        Call("GET /readyz", 'curl -s "$FLANT5_URL/readyz"'),
        Call("GET /metrics", f"{_get('$FLANT5_URL/metrics')} | grep '^flant5_jobs'"),
    ),
)
ERRORS = Leg(
    "Errors",
    (
        Call("GET /v1/models", f'curl -s "{_V1}/models"', says="Without a key:"),
        Call(f"GET {_JOB_PATH}", _get(f"{_JOBS}/ftjob-nothing")),
        Call(
            "POST /v1/fine_tuning/jobs",
            _post(
                _JOBS,
                '{"model": "flant5-demo", "training_file": "talks.jsonl", '
                '"hyperparameters": {"learning_rat": 0.1}}',
            ),
        ),
        Call(f"POST {_JOB_PATH}/resume", _post(f"{_JOBS}/{{job}}/resume")),
    ),
)
TOUR = (FILES, UPLOADS, JOBS, ENDED, MODELS, SERVICE, ERRORS)
