"""What Schemathesis looks for in every answer, beside its own checks. Loaded by it."""

from typing import Any

import schemathesis

from tests.security.campaign import fault_of_error
from tests.security.wire import Answer

_BUSY = (b"too_many_reports", b"no_serving_process")


@schemathesis.check
def has_our_shape(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    assert "x-request-id" in headers, "no request id"
    answer = Answer(status=response.status_code, headers=headers, body=response.content)
    assert answer.status < 500 or is_busy(answer), answer.body
    if answer.status >= 400 and case.method != "HEAD":
        assert not fault_of_error(answer), fault_of_error(answer)


def is_busy(answer: Answer) -> bool:
    """Two reports or plans are being made already, or nobody is here to answer chats: that is no
    failure, and says when to ask again."""
    is_told = "retry-after" in answer.headers and answer.headers.get("x-should-retry") == "true"
    is_busy = any(b'"code":"%s"' % code in answer.body for code in _BUSY)
    return answer.status == 503 and is_told and is_busy
