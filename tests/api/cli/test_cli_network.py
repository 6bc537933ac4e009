"""The command line beside the network settings of its user's shell."""

import os
from urllib.parse import urlsplit

import pytest

from tests.api.cli_runs import Run, flant5
from tests.api.socks_server import socks_server
from tests.http_server import QuietHandler, serving

DEAD = "127.0.0.1:1"
NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def run(monkeypatch: pytest.MonkeyPatch, url: str, *args: str, **variables: str) -> Run:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return flant5("jobs", *args, url=url)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ALL_PROXY", "socks4://127.0.0.1:1080", "Unknown scheme"),
        ("HTTP_PROXY", "ftp://proxy", "Unknown scheme"),
        ("http_proxy", "http://[::1", "Invalid port"),
        ("HTTPS_PROXY", "://", "Unknown scheme"),
        ("all_proxy", "http://proxy:port", "Invalid port"),
        ("NO_PROXY", "localhost,::1/128", "Invalid port"),
        ("no_proxy", "[::1]", "Invalid port"),
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "No such file"),
        ("SSL_CERT_FILE", os.devnull, "no certificate"),
        ("SSLKEYLOGFILE", "/nowhere/keys", "No such file"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_variable_that_no_client_can_be_built_with_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str, *, as_json: bool
) -> None:
    done = run(
        monkeypatch, "http://127.0.0.1:1/v1", *(["--json"] if as_json else []), **{name: value}
    )
    message = done.document["error"]["message"] if as_json else done.err
    assert done.code == 1
    assert f"{name} is '{value}', which can't be used" in message
    assert reason.lower() in message.lower()
    assert "expected" in message
    assert (done.out if not as_json else done.err) == ""
    assert message.strip().count("\n") == 0


@pytest.mark.parametrize(
    ("variables", "shown"),
    [
        ({"HTTP_PROXY": f"http://me:secret@{DEAD}"}, f"HTTP_PROXY (http://{DEAD})"),
        ({"http_proxy": DEAD}, f"http_proxy (http://{DEAD})"),
        ({"ALL_PROXY": f"socks5://{DEAD}"}, f"ALL_PROXY (socks5://{DEAD})"),
        ({"HTTP_PROXY": "http://a..b:1"}, "HTTP_PROXY (http://a..b:1)"),
        ({"HTTP_PROXY": "http://"}, "HTTP_PROXY (http:)"),
    ],
)
def test_a_proxy_that_does_not_answer_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], shown: str
) -> None:
    done = run(monkeypatch, "http://localhost:8000/v1", **variables)
    assert (done.code, done.out) == (1, "")
    assert f"no response from http://localhost:8000/v1 through the proxy in {shown}" in done.err
    assert "NO_PROXY" in done.err
    assert "secret" not in done.err
    assert done.err.count("\n") == 1


class _BlockPage(QuietHandler):
    def do_GET(self) -> None:
        page = b"<html>blocked</html>"
        self.send_response(403 if "blocked" in self.path else 200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


@pytest.mark.parametrize(
    ("host", "problem"),
    [("blocked.invalid", "returned 403"), ("portal.invalid", "did not return JSON")],
)
def test_a_proxy_that_answers_in_the_place_of_the_server_is_named(
    monkeypatch: pytest.MonkeyPatch, host: str, problem: str
) -> None:
    with serving(_BlockPage) as port:
        proxy = f"http://127.0.0.1:{port}"
        done = run(monkeypatch, f"http://{host}", HTTP_PROXY=proxy)
    assert done.code == 1
    assert f"http://{host}/v1 through the proxy in HTTP_PROXY ({proxy}) {problem}" in done.err


def test_requests_pass_through_a_socks_proxy(
    monkeypatch: pytest.MonkeyPatch, server_url: str
) -> None:
    port = urlsplit(server_url).port
    with socks_server() as server:
        for scheme in ("socks5", "socks5h"):
            proxy = f"{scheme}://127.0.0.1:{server.server_address[1]}"
            done = run(monkeypatch, server_url, "--json", ALL_PROXY=proxy)
            assert (done.code, done.err) == (0, "")
            assert done.document["object"] == "list"
        assert {each[1] for each in server.targets} == {port}


def test_a_host_in_no_proxy_is_reached_directly(
    monkeypatch: pytest.MonkeyPatch, server_url: str
) -> None:
    host = urlsplit(server_url).hostname or ""
    done = run(monkeypatch, server_url, HTTP_PROXY=f"http://{DEAD}", NO_PROXY=host)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_the_servers_address_works_with_and_without_v1(server_url: str, suffix: str) -> None:
    done = flant5("jobs", "--json", url=server_url.removesuffix("/v1") + suffix)
    assert (done.code, done.err) == (0, "")
    assert done.document["object"] == "list"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "gpu", "ftp://gpu/v1", "http://", "http:///v1", "redis://gpu:6379"]
)
def test_an_address_that_is_no_http_url_is_refused_with_an_example(url: str) -> None:
    done = flant5("jobs", url=url)
    assert (done.code, done.out) == (1, "")
    assert f"FLANT5_URL is {url!r}; expected a URL such as http://" in done.err


def test_credentials_in_the_servers_address_are_not_shown() -> None:
    done = flant5("jobs", url=f"http://me:secret@{DEAD}")
    assert f"no response from http://{DEAD}/v1" in done.err
    assert "secret" not in done.err
