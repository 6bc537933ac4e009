"""What Schemathesis looks for in every answer, beside its own checks. Loaded by it."""

from typing import Any

import schemathesis

from tests.security.campaign import fault_of_error
from tests.security.wire import Answer


@schemathesis.check
def has_our_shape(
    ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case[Any]
) -> None:
    headers = {name.lower(): values[0] for name, values in response.headers.items()}
    assert "x-request-id" in headers, "no request id"
    answer = Answer(status=response.status_code, headers=headers, body=response.content)
    if answer.status >= 400 and case.method != "HEAD":
        assert not fault_of_error(answer), fault_of_error(answer)
