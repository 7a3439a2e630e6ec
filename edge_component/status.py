"""What the component tells about itself on `plantwatch/status`, every few seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Final

from edge_component.connectors.source import SourceHealth
from edge_component.intake import Count
from edge_component.legs import Health
from plantwatch.telemetry import EpochMs

# Nucleus lite closes the connection above 10 kB as base64: 100 names of 40 characters leave room for the rest.
_DEVICES_PER_MESSAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Status:
    """`devices`: device -> its last sequence in this epoch, of the devices that moved since the last status (the first
    sequence of an epoch is 1). Counters are since the start, `rejected` and `dropped` since the database was made."""

    gateway: str
    epoch: int
    bundle: str
    at: EpochMs
    counts: Mapping[Count, int]
    inbox_refused: int
    rejected: Mapping[str, int]
    dropped: Mapping[str, int]
    legs: Mapping[str, Health]
    devices: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, SourceHealth] = field(default_factory=dict)


def encode(status: Status) -> Iterator[bytes]:
    """One message, or several that differ in `devices`."""
    head = {item.name: getattr(status, item.name) for item in fields(status)}
    head["sources"] = {name: health._asdict() for name, health in status.sources.items()}
    head["legs"] = {leg: health._asdict() for leg, health in status.legs.items()}
    for devices in _chunks(status.devices.items()):
        yield json.dumps({**head, "devices": devices}, separators=(",", ":")).encode()


def _chunks(items: Iterable[tuple[str, int]]) -> Iterator[dict[str, int]]:
    iterator = iter(items)
    chunk = dict(islice(iterator, _DEVICES_PER_MESSAGE))
    yield chunk
    while chunk := dict(islice(iterator, _DEVICES_PER_MESSAGE)):
        yield chunk
