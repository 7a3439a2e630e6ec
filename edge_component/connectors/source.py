"""What the component knows of any connector. Without one configured, nothing else of the connectors is loaded."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Protocol


class State(StrEnum):
    """What the light at the gateway shows."""

    CONNECTING = "connecting"
    UP = "up"
    SILENT = "silent"
    DOWN = "down"
    STOPPED = "stopped"


class SourceHealth(NamedTuple):
    """One connector in the status. Counts are since its start; `lost` are readings that it knows it could not take."""

    state: State
    reads: str
    readings: int
    bad_values: int
    lost: int
    connects: int
    age_s: float | None
    """Seconds since the last reading."""
    error: str


class Source(Protocol):
    """What the component asks of every connector."""

    name: str
    reads: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def health(self) -> SourceHealth: ...
