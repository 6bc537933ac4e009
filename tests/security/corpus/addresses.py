"""Paths, query strings and methods that there are not."""

from collections.abc import Iterator
from itertools import product

from tests.security.malformed import Malformed
from tests.security.victim import Victim

SEGMENTS = (
    "",
    ".",
    "..",
    "...",
    "%2e",
    "%2e%2e",
    "%2E%2E%2F",
    "..%2f..%2f..%2fetc%2fpasswd",
    "..%5c..%5cwindows",
    "..%252f..%252f",
    "%2fetc%2fpasswd",
    "..;",
    "....//....//",
    "%00",
    "file-%00",
    "a%00.json",
    "a%0d%0aSet-Cookie:x=1",
    "a%0ab",
    "%1b[31m",
    "%7f",
    "%80",
    "%c0%ae%c0%ae",
    "%ed%a0%80",
    "%ef%bb%bf",
    "%ff%fe",
    "%",
    "%zz",
    "%u0041",
    "%e2%80%ae",
    "%F0%9F%98%80",
    "*",
    "~root",
    "$HOME",
    "{job_id}",
    "%7B%7D",
    "null",
    "undefined",
    "-1",
    "0",
    "--help",
    "[]",
    "<script>",
    "%3Cscript%3E",
    "'%20OR%201=1",
    "CON",
    "file-" + "0" * 26,
    "file-" + "0" * 27,
    "FILE-" + "0" * 26,
    "file-" + "%D9%A1" * 26,
    "upload_" + "0" * 26,
    "ftjob-0",
    "ftjob-" + "a" * 64,
    "ftjob-..%2f..",
    "ft:a:b:c:1:ckpt-step-999999999999",
    "ft:a:b:c:1:ckpt-step-%D9%A1",
    "ft:",
    "ft:..:..:..:..",
    "flant5-demo%2f..%2f..",
    "flant5-demo%00",
    "a" * 300,
    "a" * 5000,
    "a" * 60_000,
    "a/" * 3000,
    "%2e%2e%2f" * 500,
)

_OF_ONE = (
    ("GET", "/v1/files/{}"),
    ("DELETE", "/v1/files/{}"),
    ("GET", "/v1/files/{}/content"),
    ("GET", "/v1/files/{}/report"),
    ("GET", "/v1/uploads/{}"),
    ("GET", "/v1/uploads/{}/parts"),
    ("POST", "/v1/uploads/{}/cancel"),
    ("GET", "/v1/fine_tuning/jobs/{}"),
    ("DELETE", "/v1/fine_tuning/jobs/{}"),
    ("DELETE", "/v1/fine_tuning/jobs/{}/checkpoints/1"),
    ("POST", "/v1/fine_tuning/jobs/{}/cancel"),
    ("POST", "/v1/fine_tuning/jobs/{}/pause"),
    ("POST", "/v1/fine_tuning/jobs/{}/resume"),
    ("GET", "/v1/fine_tuning/jobs/{}/events"),
    ("GET", "/v1/fine_tuning/jobs/{}/logs"),
    ("GET", "/v1/fine_tuning/jobs/{}/checkpoints"),
    ("GET", "/v1/fine_tuning/jobs/{}/metrics"),
    ("GET", "/v1/fine_tuning/jobs/{}/artifacts"),
    ("GET", "/v1/fine_tuning/jobs/{}/artifacts/a"),
    ("GET", "/v1/models/{}"),
    ("DELETE", "/v1/models/{}"),
    ("GET", "/v1/{}"),
)

_VALUES = (
    "",
    "0",
    "-1",
    "1.5",
    "1e3",
    "99999999999999999999999",
    "9" * 5000,
    "abc",
    "%00",
    "%ff",
    "%ed%a0%80",
    "nan",
    "inf",
    "-inf",
    "true",
    "[]",
    "{}",
    "1&limit=2",
    "%20",
    "+1",
    "%D9%A3",
    "0x10",
    "../../etc",
    "file-" + "0" * 26,
    "ftjob-" + "a" * 24,
    "ft-event-0-0",
    "ft-event-1-1-1",
    "ft-event-%D9%A1-1",
    "99999999999999999999-99999999999999999999",
    "ftckpt_",
    "<script>",
    "a" * 5000,
)

_NAMES_BY_PATH = (
    ("/v1/files", ("after", "limit", "order", "purpose", "limit%00", "api_key")),
    ("/v1/files/{file}", ("expand", "x[]")),
    ("/v1/fine_tuning/jobs", ("after", "limit", "metadata[k]", "metadata[]", "metadata[%00]")),
    ("/v1/fine_tuning/jobs/{job}/events", ("after", "limit")),
    ("/v1/fine_tuning/jobs/{job}/logs", ("after", "limit", "tail")),
    ("/v1/fine_tuning/jobs/{job}/checkpoints", ("after", "limit")),
    ("/v1/fine_tuning/jobs/{job}/metrics", ("x",)),
    ("/v1/models", ("after", "limit")),
    ("/healthz", ("x",)),
)
_REPORT = ("model", "max_source_length", "tokenization", "on_bad_record", "x")

_METHODS = (
    "PUT",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "MKCOL",
    "LOCK",
    "SEARCH",
    "PURGE",
    "REPORT",
    "LINK",
    "QUERY",
)


def paths(victim: Victim) -> Iterator[Malformed]:
    """Ids that lead elsewhere, for every route that takes one."""
    for (method, template), segment in product(_OF_ONE, SEGMENTS):
        yield Malformed(method, template.format(segment), may_pass=_lists(template, segment))
    for segment in SEGMENTS:
        for head in ("/v1/fine_tuning/jobs/{}/artifacts/", "/v1/fine_tuning/jobs/{}/"):
            yield Malformed("GET", head.format(victim.job_id) + segment, may_pass=True)
    for segment in (*SEGMENTS, "openapi.json/", "docs/..", "metrics/", "v1", "static/../api/keys"):
        yield Malformed("GET", f"/{segment}", may_pass=segment in ("", "~root"))


def _lists(template: str, segment: str) -> bool:
    """Without an id some of the paths are those of lists, and some ids belong to the models."""
    return template == "/v1/models/{}" or segment == ""


def queries(victim: Victim) -> Iterator[Malformed]:
    """Parameters out of their range, of another kind, twice, or unknown. Of those that take any
    text, and of unknown ones, the answer may be an (empty) list."""
    for template, names in _NAMES_BY_PATH:
        path = template.format(file=victim.file_id, job=victim.job_id)
        for name, value in product(names, _VALUES):
            yield Malformed("GET", f"{path}?{name}={value}", may_pass=True)
    for name, value in product(_REPORT, _VALUES):
        yield Malformed("GET", f"/v1/files/{victim.file_id}/report?{name}={value}")
    for value in _VALUES:
        yield Malformed("GET", f"/v1/files/file-{'0' * 26}/report?wait_seconds={value}")
    for value in _VALUES:
        path = f"/v1/fine_tuning/jobs/ftjob-0/cancel?save_checkpoint={value}"
        yield Malformed("POST", path)
    for query in ("?", "??", "&&&", "=", "%", "%00=%00", "a" * 60_000, "a&" * 20_000, "limit[]=1"):
        yield Malformed("GET", f"/v1/files?{query}", may_pass=True)


def methods(victim: Victim) -> Iterator[Malformed]:
    """Methods that no path has, and those of other paths."""
    known = {template.format("x") for _, template in _OF_ONE} | {
        "/v1/files",
        "/v1/uploads",
        "/v1/models",
        "/v1/recover",
        "/v1/fine_tuning/jobs",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/docs",
        "/",
        "/nothing",
    }
    for path, method in product(sorted(known), _METHODS):
        # Of documents and of the pages at /, the heading alone may be asked for.
        may_pass = method == "HEAD" and not path.startswith("/v1")
        yield Malformed(method, path, may_pass=may_pass)
    for path in ("/v1/models", "/v1/files/x/content", "/v1/fine_tuning/jobs/x/logs"):
        for method in ("POST", "DELETE"):
            yield Malformed(method, path)
