"""Runs components as the nucleus does: own work directory, own token, launched again when they exit."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_BACKOFF_S_MIN: Final = 0.2
_BACKOFF_S_MAX: Final = 5.0
# A component that ran longer than this has recovered: its next exit starts the back-off anew.
_RECOVERED_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 15.0


class Tokens:
    """Which token (SVCUID) belongs to which component."""

    def __init__(self) -> None:
        self._components: dict[str, str] = {}

    def issue(self, component: str) -> str:
        token = base64.b64encode(secrets.token_bytes(12)).decode()
        self.admit(component, token)
        return token

    def admit(self, component: str, token: str) -> None:
        self._components[token] = component

    def revoke(self, token: str) -> None:
        self._components.pop(token, None)

    def component(self, token: str) -> str | None:
        return self._components.get(token)


@dataclass(frozen=True, slots=True)
class Launch:
    """How to run one component. `environment` is added to the nucleus's own."""

    name: str
    command: Sequence[str]
    work_dir: Path
    environment: Mapping[str, str]


class Supervisor:
    """Keeps one component running until it is stopped. `started(pid)` is told of every launch."""

    def __init__(self, launch: Launch, tokens: Tokens, *, started: Callable[[int], None]) -> None:
        self._launch = launch
        self._tokens = tokens
        self._started = started
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Until cancelled; then asks the component to stop, and kills it where it does not."""
        backoff = _BACKOFF_S_MIN
        try:
            while True:
                started_at = time.monotonic()
                code = await self._run_once()
                lived_s = time.monotonic() - started_at
                backoff = _BACKOFF_S_MIN if lived_s > _RECOVERED_S else min(2 * backoff, _BACKOFF_S_MAX)
                logger.warning("%s exited with %s after %.1f s", self._launch.name, code, lived_s)
                await asyncio.sleep(backoff)
        finally:
            await self._stop()

    async def _run_once(self) -> int:
        token = self._tokens.issue(self._launch.name)
        self._launch.work_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._launch.command,
                cwd=self._launch.work_dir,
                env={**os.environ, **self._launch.environment, "SVCUID": token},
            )
            logger.info("%s started, pid %d", self._launch.name, self._process.pid)
            self._started(self._process.pid)
            return await self._process.wait()
        finally:
            self._tokens.revoke(token)

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_TIMEOUT_S)
        except TimeoutError:
            logger.warning("%s does not stop: killed", self._launch.name)
            process.kill()
            await process.wait()
