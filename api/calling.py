"""Dependency that provides the caller of a request."""

from typing import Annotated

from fastapi import Depends, Request

from api.caller import Caller


async def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


Calling = Annotated[Caller, Depends(_caller)]
