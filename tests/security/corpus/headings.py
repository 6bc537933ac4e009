"""Headers with values they were not made for, and sizes beyond every limit."""

from collections.abc import Iterator, Mapping
from itertools import product

from tests.security.corpus.forms import file_form
from tests.security.malformed import JSON, Malformed, dumped
from tests.security.victim import Victim

_VALUES = (
    "",
    " ",
    "-1",
    "0",
    "1.5",
    "99999999999999999999999",
    "nan",
    "abc",
    "\xff\xfe",
    "\x80",
    "a\tb",
    "a" * 300,
    "a" * 30_000,
    "<script>",
    "../../etc/passwd",
    "{{7*7}}",
    "\x01",
    "a,b,c",
    ";",
    '"',
    "ft-event-1-1",
    "1-1",
    "bytes=0-1",
    "text/event-stream; q=x",
)
_NAMES = (
    "Accept",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Cookie",
    "Content-Language",
    "Date",
    "Forwarded",
    "From",
    "Host",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Max-Forwards",
    "OpenAI-Organization",
    "OpenAI-Project",
    "Origin",
    "Range",
    "Referer",
    "TE",
    "User-Agent",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-HTTP-Method-Override",
    "X-Original-URL",
    "X-Request-Id",
    "X-Stainless-Retry-Count",
)
_RANGES = (
    "bytes",
    "bytes=",
    "bytes=-",
    "bytes=a-b",
    "bytes=5-1",
    "bytes=-0",
    "bytes=99999999999-",
    "bytes=0-99999999999999999999999",
    "bytes=--1",
    "bytes=0-0,",
    "bytes=" + "0-0," * 2000 + "0-0",
    "bytes=" + ",".join(f"{start}-" for start in range(2000)),
    "lines=0-1",
    "bytes=0-1;x",
    "bytes=\xff-1",
)
_AUTHORIZATIONS = (
    "",
    "Bearer",
    "Bearer ",
    "Bearer  ",
    "Bearer x",
    "bearer x",
    "Basic YTpi",
    "Digest username=a",
    "Bearer " + "x" * 30_000,
    "Bearer \xff\xfe",
    "Bearer \x80",
    "Bearer f5-",
    "Bearer f5-a f5-b",
    "Bearer null",
    "Bearer {}",
    "Bearer ../../keys",
    "Token x",
    "\xff",
)
_PATHS = ("/v1/files", "/v1/fine_tuning/jobs", "/v1/models", "/metrics", "/v1/nothing", "/v1")


def headers(victim: Victim) -> Iterator[Malformed]:
    """On a list, on a download, on live streams that there are not, and on a job that can't be."""
    job = dumped({"model": "no-such-model", "training_file": "no-such-file.json"})
    for name, value in product(_NAMES, _VALUES):
        yield Malformed("GET", "/v1/files?limit=1", {name: value}, may_pass=True)
        yield Malformed("POST", "/v1/fine_tuning/jobs", JSON | {name: value}, job)
    for value in _VALUES:
        stream = {"Accept": "text/event-stream", "Last-Event-ID": value}
        for topic in ("events", "logs"):
            yield Malformed("GET", f"/v1/fine_tuning/jobs/ftjob-0/{topic}", stream)
    for value in (*_RANGES, *_VALUES):
        yield Malformed(
            "GET", f"/v1/files/{victim.file_id}/content", {"Range": value}, may_pass=True
        )
    for number in (50, 2000):
        many = {f"X-Many-{each}": "v" for each in range(number)}
        yield Malformed("GET", "/v1/nothing", many)


def keys(victim: Victim) -> Iterator[Malformed]:
    """No key, or something that is not one, on every kind of path."""
    for path, value in product(_PATHS, _AUTHORIZATIONS):
        yield Malformed("GET", path, {"Authorization": value})
        yield Malformed("POST", path, {"Authorization": value} | JSON, b"{}")
    for name in ("api_key", "key", "access_token", "authorization", "token"):
        yield Malformed("GET", f"/v1/files?{name}=f5-x", {"Authorization": ""})
        yield Malformed("GET", "/v1/files", {"Authorization": "", "Cookie": f"{name}=f5-x"})
        yield Malformed("GET", "/v1/files", {"Authorization": "", f"X-{name}": "f5-x"})


def sizes(victim: Victim) -> Iterator[Malformed]:
    """Bodies beyond the limit of their path: declared, in chunks, and compressed."""
    part_path = f"/v1/uploads/{victim.upload_id}/parts"
    for path in ("/v1/fine_tuning/jobs", "/v1/uploads", "/v1/nothing", "/v1/recover/x"):
        for num_bytes in (2**20 + 1, 3 * 2**20):
            yield Malformed("POST", path, JSON, b" " * num_bytes)
            yield _in_chunks(path, JSON, b" " * num_bytes, 65_536)
            yield _in_chunks(path, JSON, b"[" * num_bytes, 300_000)
    heading, form = file_form(b"big.jsonl", b"x" * (4 * 2**20))
    yield Malformed("POST", "/v1/files", heading, form)
    yield _in_chunks("/v1/files", heading, form, 100_000)
    yield Malformed("POST", part_path, heading, form)
    yield _in_chunks(part_path, heading, form, 100_000)
    for declared in ("99999999999", "18446744073709551615"):
        for path in ("/v1/files", "/v1/fine_tuning/jobs"):
            sent = {**heading, "Content-Length": declared, "Connection": "close"}
            yield Malformed("POST", path, sent, form[:1000])


def _in_chunks(path: str, heading: Mapping[str, str], body: bytes, size: int) -> Malformed:
    pieces = (body[start : start + size] for start in range(0, len(body), size))
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    return Malformed("POST", path, {**heading, "Transfer-Encoding": "chunked"}, chunked)
