"""The scenes of the API's and the trainer's tests, and a client that changes nothing of a path."""

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from tests.api.conftest import app, client, serve, server_url, settings
from tests.flant5_train.conftest import examples, tiny_model, trained_vocabulary
from tests.security.malformed import Malformed
from tests.security.wire import Answer, Wire

__all__ = [
    "app",
    "client",
    "examples",
    "serve",
    "server_url",
    "settings",
    "tiny_model",
    "trained_vocabulary",
]

Send = Callable[[str, str], Answer]


@pytest.fixture
def send(server_url: str) -> Iterator[Send]:
    """(method, path under /v1 as it goes over the wire) -> the answer. Other clients resolve `..`
    before they send it."""
    with Wire("127.0.0.1", urlsplit(server_url).port or 0) as wire:

        def ask(method: str, path: str) -> Answer:
            return wire.ask(Malformed(method, f"/v1{path}").encoded("Bearer none"))

        yield ask
