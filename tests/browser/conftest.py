"""A browser, an API with jobs in every state, and the whole service."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from api.auth import hash_of
from tests.browser.chromium import running_chromium
from tests.browser.person import TIMEOUT_MS, Person, person
from tests.browser.scenes import Scene, set_up
from tests.security.server import Server, running_server
from tests.stack.conftest import running
from tests.stack.service import Service

OTHER_KEYS = {"bob": "read,submit", "looker": "read,admin", "sender": "submit"}
"""Names, which are the keys as well, and scopes."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=TIMEOUT_MS)
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With keys; nothing works on its jobs."""
    directory = tmp_path_factory.mktemp("api")
    with running_server(directory, FLANT5_MAX_WAITING="10000") as server:
        with (directory / "keys").open("a", encoding="utf-8") as file:
            for name, scopes in OTHER_KEYS.items():
                file.write(f"{name}:{hash_of(name)}:{scopes}\n")
        yield server


@pytest.fixture(scope="session")
def scene(server: Server) -> Scene:
    return set_up(server)


@pytest.fixture
def alice(browser: Browser, server: Server, scene: Scene) -> Iterator[Person]:
    """Logged in."""
    with person(browser, f"http://127.0.0.1:{server.port}") as alice:
        alice.log_in(server.key)
        alice.page.wait_for_selector(".job")
        yield alice


@pytest.fixture
def stranger(browser: Browser, server: Server) -> Iterator[Person]:
    """Not logged in."""
    with person(browser, f"http://127.0.0.1:{server.port}") as stranger:
        yield stranger


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service, without keys."""
    with running(tmp_path_factory.mktemp("home")) as service:
        yield service


@pytest.fixture
def somebody(browser: Browser, service: Service) -> Iterator[Person]:
    with person(browser, service.url.removesuffix("/v1")) as somebody:
        yield somebody
