"""Which function answers which request."""

from collections.abc import Callable

from tests.hub import reading, writing
from tests.hub.answers import Answer

_NAME = r"(?P<name>[^/]+/[^/]+)"
_API = rf"/api/models/{_NAME}"

ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("POST", "/api/repos/create", writing.create),
    ("POST", "/api/validate-yaml", writing.validate),
    ("GET", _API, reading.info),
    ("GET", rf"{_API}/revision/(?P<revision>[^/]+)", reading.info),
    ("GET", rf"{_API}/tree/(?P<revision>[^/]+)", reading.tree),
    ("POST", rf"{_API}/branch/(?P<revision>[^/]+)", writing.branch),
    ("POST", rf"{_API}/preupload/(?P<revision>[^/]+)", writing.preupload),
    ("POST", rf"{_API}/commit/(?P<revision>[^/]+)", writing.commit),
    ("GET", rf"{_API}/xet-write-token/(?P<revision>[^/]+)", writing.xet_token),
    ("POST", rf"/{_NAME}\.git/info/lfs/objects/batch", writing.batch),
    ("POST", "/lfs/verify", writing.verify),
    ("PUT", "/storage/(?P<oid>[0-9a-f]{64})", writing.store),
    ("GET", "/storage/(?P<oid>[0-9a-f]{64})", reading.fetch),
    ("GET", rf"/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", reading.resolve),
]
