"""Minimal client for MLflow's REST API (docs: mlflow.org, "REST API")."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

from worker.integrations.accounts import MlflowAccount
from worker.integrations.export_task import ShippingError
from worker.jobs.http_client import REJECTED, NetworkSettingsError, open_client, through_proxy

_TIMEOUT_SECONDS = 60.0
_MAX_SHOWN = 300


class MlflowError(ShippingError):
    """The server rejected a request. `code` is MLflow's error code."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class MlflowClient:
    """Client of one account. Every call raises MlflowError."""

    def __init__(self, account: MlflowAccount) -> None:
        auth, headers = None, {}
        if account.username is not None and account.password is not None:
            auth = httpx.BasicAuth(account.username, account.password.get_secret_value())
        elif account.token is not None:
            headers = {"authorization": f"Bearer {account.token.get_secret_value()}"}
        self._proxy = through_proxy(account.tracking_uri)
        try:
            self._http = open_client(
                base_url=f"{account.tracking_uri}/api/2.0/mlflow/",
                auth=auth,
                headers=headers,
                timeout=_TIMEOUT_SECONDS,
            )
        except NetworkSettingsError as error:
            raise MlflowError(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        return self._answer(path, "GET", params=parameters)

    def post(self, path: str, body: Mapping[str, object]) -> Any:
        return self._answer(path, "POST", json=body)

    def _answer(self, path: str, method: str, **content: Any) -> Any:
        try:
            response = self._http.request(method, path, **content)
        except REJECTED as error:
            # Only the class name: some messages contain the URL.
            raise MlflowError(
                f"cannot reach MLflow for {path}{self._proxy} ({type(error).__name__})"
            ) from error
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if response.is_success and isinstance(answer, dict):
            return answer
        told = answer if isinstance(answer, dict) else {}
        code, message = str(told.get("error_code", "")), str(told.get("message", ""))
        raise MlflowError(
            f"MLflow answered {path} with HTTP {response.status_code} {code} "
            f"{message[:_MAX_SHOWN]}".rstrip(),
            code=code,
        )
