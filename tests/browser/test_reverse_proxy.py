"""The dashboard and the API behind a real nginx on an odd port, at its root and under a path."""

import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import httpx2
import pytest
from openai import OpenAI
from playwright.sync_api import Browser, Response, expect

from tests.browser.nginx import nginx
from tests.browser.person import Person, person
from tests.browser.scenes import Scene
from tests.security.server import Server

pytestmark = pytest.mark.browser


@dataclass(frozen=True, slots=True)
class Proxy:
    url: str
    """The address of the server for a browser, without a trailing slash."""
    certificate: Path

    @property
    def prefix(self) -> str:
        return urlsplit(self.url).path

    @property
    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(verify=self.trust, headers=headers, timeout=60, trust_env=False)


@pytest.fixture(scope="module", params=[False, True], ids=["root", "under a path"])
def proxy(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, server: Server
) -> Iterator[Proxy]:
    directory = tmp_path_factory.mktemp("nginx")
    with nginx(directory, upstream_port=server.port, is_under_path=request.param) as url:
        yield Proxy(url, directory / "certificate.pem")


@pytest.fixture
def alice(browser: Browser, server: Server, scene: Scene, proxy: Proxy) -> Iterator[Person]:
    with person(browser, proxy.url) as alice:
        yield alice


def test_a_browser_finds_every_page_style_and_socket(
    alice: Person, server: Server, scene: Scene, proxy: Proxy
) -> None:
    page, refused = alice.page, list[str]()

    def note(response: Response) -> None:
        if response.status >= 400:
            refused.append(f"{response.status} {response.url}")

    page.on("response", note)
    alice.log_in(server.key)
    expect(page.locator(".job").first).to_be_visible()
    assert urlsplit(page.url).path == f"{proxy.prefix}/"
    assert page.evaluate("typeof window.flant5.toggleTheme") == "function"
    # Rows are filtered by the server, over the WebSocket, which puts the filter into the address.
    page.get_by_label("Filter").fill("support-bot")
    expect(page.locator(".job")).to_have_count(1)
    expect(page).to_have_url(re.compile(rf"{re.escape(proxy.url)}/\?.*support-bot"))
    page.reload()
    expect(page.locator(".job")).to_have_count(1)
    page.locator(".job-name").first.click()
    expect(page).to_have_url(f"{proxy.url}/jobs/{scene.succeeded}")
    for name in ("New job", "Compare", "Files", "Models", "Chat"):
        page.locator("nav.pages").get_by_text(name, exact=True).click()
        expect(page.locator("nav.pages .here")).to_contain_text(name)
        assert urlsplit(page.url).path.startswith(f"{proxy.prefix}/")
        page.reload()
        expect(page.locator("nav.pages .here")).to_contain_text(name)
    with page.expect_download() as waiting:
        alice.go("/models").get_by_role("link", name="Download").first.click()
    assert waiting.value.suggested_filename.endswith(".tar")
    page.get_by_label("Log out").click()
    expect(page).to_have_url(f"{proxy.url}/login")
    assert refused == []


def test_the_session_is_for_this_path_and_for_tls_alone(
    alice: Person, server: Server, proxy: Proxy
) -> None:
    alice.log_in(server.key)
    expect(alice.page.locator(".job").first).to_be_visible()
    (session,) = [each for each in alice.page.context.cookies() if each["name"] == "flant5_session"]
    assert session["path"] == (proxy.prefix or "/")
    assert session["secure"] is True


def test_the_description_of_the_api_is_linked_below_the_path(proxy: Proxy) -> None:
    with proxy.client() as client:
        page = client.get(f"{proxy.url}/docs")
        (link,) = re.findall(r"url: '([^']*openapi\.json)'", page.text)
        assert link == f"{proxy.prefix}/openapi.json"
        document = client.get(f"{proxy.url}/openapi.json").json()
    servers = [each["url"] for each in document.get("servers", [])]
    assert servers == ([proxy.prefix] if proxy.prefix else [])


def test_an_sdk_finds_models_and_jobs(server: Server, scene: Scene, proxy: Proxy) -> None:
    with (
        proxy.client(Authorization=server.authorization) as http,
        httpx2.Client(verify=proxy.trust) as transport,
        OpenAI(base_url=f"{proxy.url}/v1", api_key=server.key, http_client=transport) as sdk,
    ):
        (model, *_) = [each.id for each in sdk.models.list() if each.id.startswith("ft:")]
        assert sdk.models.retrieve(model).id == model
        assert sdk.fine_tuning.jobs.retrieve(scene.running).id == scene.running
        escaped = http.get(f"{proxy.url}/v1/models/{quote(model, safe='')}")
        assert escaped.json()["id"] == model


def test_a_live_stream_is_not_held_back(server: Server, scene: Scene, proxy: Proxy) -> None:
    headers = {"Authorization": server.authorization, "Accept": "text/event-stream"}
    url = f"{proxy.url}/v1/fine_tuning/jobs/{scene.running}/events"
    with proxy.client(**headers) as client, client.stream("GET", url) as response:
        # The job goes on, so that the answer has no end: a proxy that held it back would send none.
        assert next(response.iter_lines())


@pytest.mark.parametrize("prefix", ["/a b", "//evil.example", "https://evil.example", "/<x>", "x"])
def test_a_prefix_that_is_no_path_is_refused(server: Server, prefix: str) -> None:
    headers = {"X-Forwarded-Prefix": prefix}
    for path in ("/login", "/docs", "/openapi.json"):
        url = f"http://127.0.0.1:{server.port}{path}"
        answer = httpx.get(url, headers=headers, trust_env=False)
        assert answer.status_code == 400
        assert "X-Forwarded-Prefix: found" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/x/v1/files", "/v1/files", "/v1/v1/files"])
@pytest.mark.parametrize("prefix", ["/x", "/v1"])
def test_a_prefix_opens_no_path_without_a_key(server: Server, path: str, prefix: str) -> None:
    url = f"http://127.0.0.1:{server.port}{path}"
    answer = httpx.get(url, headers={"X-Forwarded-Prefix": prefix}, trust_env=False)
    assert answer.status_code in (401, 404)


def test_a_proxy_that_drops_the_port_is_named_in_the_refusal(server: Server) -> None:
    headers = {"Host": "127.0.0.1", "Origin": f"http://127.0.0.1:{server.port}"}
    url = f"http://127.0.0.1:{server.port}/v1/models"
    answer = httpx.get(
        url, headers={**headers, "Authorization": server.authorization}, trust_env=False
    )
    assert answer.status_code == 403
    assert "proxy_set_header Host $http_host" in answer.json()["error"]["message"]
