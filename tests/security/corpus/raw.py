"""What is hardly HTTP, or not at all."""

from collections.abc import Iterator
from itertools import product

from tests.security.malformed import Raw
from tests.security.victim import Victim

_HOST = b"Host: a\r\n"
_FIRST_LINES = (
    b"",
    b"\x00",
    b"\xff" * 100,
    b"GET",
    b"GET ",
    b"GET /",
    b"GET / HTTP",
    b"GET / HTTP/",
    b"GET / HTTP/9.9",
    b"GET / HTTP/2.0",
    b"GET / HTTP/0.9",
    b"GET / HTTP/1.1 extra",
    b"GET / http/1.1",
    b"GET  /  HTTP/1.1",
    b"\tGET / HTTP/1.1",
    b"GE\x00T / HTTP/1.1",
    b"get / HTTP/1.1",
    b"NONSENSE / HTTP/1.1",
    b"A" * 100_000 + b" / HTTP/1.1",
    b"GET /\x00 HTTP/1.1",
    b"GET /\x7f HTTP/1.1",
    b"GET /\xff\xfe HTTP/1.1",
    b"GET /a b HTTP/1.1",
    b"GET nothing HTTP/1.1",
    b"GET * HTTP/1.1",
    b"GET ? HTTP/1.1",
    b"GET # HTTP/1.1",
    b"GET //// HTTP/1.1",
    b"GET //evil.test/%2e%2e HTTP/1.1",
    b"GET http:// HTTP/1.1",
    b"GET http://[::1 HTTP/1.1",
    b"GET http://evil.test/nothing HTTP/1.1",
    b"GET http://a:b@evil.test:99999/nothing HTTP/1.1",
    b"GET file:///etc/passwd HTTP/1.1",
    b"CONNECT evil.test:443 HTTP/1.1",
    b"CONNECT / HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"PRI * HTTP/2.0",
    b"GET /" + b"a" * 300_000 + b" HTTP/1.1",
    b"GET /?" + b"a" * 300_000 + b" HTTP/1.1",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"*1\r\n$8\r\nFLUSHALL",
    b"EHLO evil.test",
    b"SSH-2.0-x",
)
_HEADER_LINES = (
    b"",
    b"X",
    b":",
    b": x",
    b"X : y",
    b" X: y",
    b"X\x00: y",
    b"X: a\x00b",
    b"X: a\x01b",
    b"X\xff: y",
    b"X: y\r\n folded",
    b"X: y\n",
    b"X: y\rZ: w",
    b"X(: y",
    b"Content-Length: ",
    b"Content-Length: -1",
    b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Length: 5\r\nContent-Length: 6",
    b"Content-Length: 0x5",
    b"Content-Length: 5.0",
    b"Content-Length: 99999999999999999999999999",
    b"Content-Length: 5\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Transfer-Encoding: chunked, gzip",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: x",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding:\x0bchunked",
    b"Expect: 100-continue",
    b"Expect: nothing",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQ",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 99",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Host: b",
    b"Host:",
    b"X: " + b"y" * 300_000,
    b"X" * 300_000 + b": y",
    b"X: y\r\n" * 9000,
)
_BODIES = (
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhel",
    b"zz\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\nhello",
    b"5;" + b"x" * 100_000 + b"\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\n0\n\n",
    b"0\r\nX: y\r\n\r\n",
    b"0\r\n\r\nGET /nothing HTTP/1.1\r\n\r\n",
)


def raw(victim: Victim) -> Iterator[Raw]:
    """First lines, header lines, bodies with lengths that are wrong; and requests that
    break off."""
    for line in _FIRST_LINES:
        yield Raw(line)
        yield Raw(line + b"\r\n\r\n")
        yield Raw(line + b"\r\n" + _HOST + b"\r\n")
    for line in _HEADER_LINES:
        yield Raw(b"GET /v1/nothing HTTP/1.1\r\n" + _HOST + line + b"\r\n\r\n")
        yield Raw(b"GET /nothing HTTP/1.0\r\n" + line + b"\r\n\r\n")
    for line, body in product((b"Content-Length: 5", b"Transfer-Encoding: chunked"), _BODIES):
        for path in (b"/v1/fine_tuning/jobs", b"/v1/files", b"/nothing"):
            head = b"POST " + path + b" HTTP/1.1\r\n" + _HOST + line
            yield Raw(head + b"\r\n\r\n" + body)
    whole = b"POST /v1/uploads HTTP/1.1\r\n" + _HOST + b"Content-Length: 20\r\n\r\n" + b"{" * 19
    yield from (Raw(whole[:end]) for end in range(0, len(whole), 2))
    for path in (b"/v1/files", b"/v1/fine_tuning/jobs/ftjob-0/events", b"/nothing"):
        yield Raw(
            b"GET " + path + b" HTTP/1.1\r\n" + _HOST + b"Connection: Upgrade\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n\x88\x80\x00\x00\x00\x00"
        )
