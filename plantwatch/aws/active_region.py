"""Which region writes results and sends alerts now: one SSM parameter, `{"region": "us-east-1", "epoch": 3}`.

Each region has its own copy, so that a promotion works while the other region cannot be reached. `epoch` counts
promotions; it lets the control machine tell an old decision from a new one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, Final

from plantwatch.aws.clients import Refused, service_errors

# A promotion takes a person minutes; two seconds more cost nothing, and SSM's 40 reads/s are shared by the account.
CACHE_S: Final = 2.0


class SsmActiveRegion:
    """ActiveRegion by an SSM parameter.

    Where SSM cannot be reached the answer is DeliveryFailed, never "active": two regions that both believe it would
    send every alert twice.
    """

    def __init__(
        self, ssm: Any, parameter: str, *, region: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._ssm = ssm
        self._parameter = parameter
        self._region = region
        self._monotonic = monotonic
        self._answer = False
        self._read_at: float | None = None

    def is_active(self) -> bool:
        now = self._monotonic()
        if self._read_at is None or now - self._read_at >= CACHE_S:
            self._answer = self._read() == self._region
            self._read_at = now
        return self._answer

    def _read(self) -> str:
        with service_errors(f"read the active region from {self._parameter}"):
            value = self._ssm.get_parameter(Name=self._parameter)["Parameter"]["Value"]
        try:
            return str(json.loads(value)["region"])
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"the active region's parameter {self._parameter} is not one of ours: {value!r}") from error
