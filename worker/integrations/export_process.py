"""Handle of an export process, which exports one job to one integration."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from pydantic import ValidationError

from worker.integrations.export_task import ExportReport, ExportTask, JobEnded
from worker.jobs.job import Status

_STOP_SECONDS = 5.0
_MAX_LINE_BYTES = 1 << 20

logger = logging.getLogger(__name__)

OnUrl = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ExportProblem:
    """The error of a failed export."""

    text: str
    is_final: bool = False
    """True if a retry would hit the same problem."""

    def __str__(self) -> str:
        return self.text


class ExportProcess:
    """An export process. `start` it, poll it with `ended_within`, and always `stop` it."""

    def __init__(self, process: asyncio.subprocess.Process, on_url: OnUrl) -> None:
        self._process = process
        self._on_url = on_url
        self._heard_at = time.monotonic()
        self._last = ExportReport()
        self._is_end_sent = False
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, task: ExportTask, *, on_url: OnUrl) -> Self:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker.integrations.exporter"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
        )
        child = cls(process, on_url)
        await child._write(task.model_dump_json())
        return child

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self._heard_at

    @property
    def problem(self) -> ExportProblem | None:
        """The error of an ended process, or None if it succeeded."""
        if self._last.is_done:
            return None
        if self._last.problem is None:
            return ExportProblem(f"the export process exited with code {self._process.returncode}")
        return ExportProblem(self._last.problem, is_final=self._last.is_final)

    async def send_end(self, status: Status) -> None:
        """Informs the process that the job is no longer running. Sent only once."""
        if not self._is_end_sent:
            self._is_end_sent = True
            await self._write(JobEnded(status=status).model_dump_json())

    async def ended_within(self, seconds: float) -> bool:
        done, _ = await asyncio.wait({self._listening}, timeout=seconds)
        return bool(done)

    async def stop(self) -> None:
        """Closes its standard input, which makes it exit. Kills it after a timeout."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._listening

    async def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            return  # it has exited: see `ended_within` and `problem`

    async def _listen(self) -> None:
        """Reads reports until the process exits."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            try:
                report = ExportReport.model_validate_json(line)
            except ValidationError:
                logger.warning("export process: ignoring malformed message: %r", line[:200])
                continue
            self._heard_at = time.monotonic()
            self._last = report
            if report.url is not None:
                await self._on_url(report.url)
        await self._process.wait()
