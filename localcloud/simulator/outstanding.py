"""Which readings a source has sent and not yet seen acknowledged. Pure: no I/O, no clock."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from edge_component.sources.local_topics import SEQUENCE_KEY, SOURCE_KEY
from plantwatch.telemetry import InvalidReading, RejectionReason

# Nucleus lite closes the connection above 10 kB of IPC message: 6.5 kB are 8.7 kB as base64, plus its JSON and headers.
_MESSAGE_BYTES_MAX: Final = 6_500


class _Numbered(NamedTuple):
    sequence: int
    encoded: bytes


@dataclass(slots=True)
class _Device:
    last: int = 0
    unacknowledged: deque[_Numbered] = field(default_factory=deque)
    unsent: deque[_Numbered] = field(default_factory=deque)


class Outstanding:
    """Numbers readings per device from 1 and remembers them until they are acknowledged.

    >>> outstanding = Outstanding("driver")
    >>> outstanding.add("pump-1", {"ts": 1732341600, "flow": 4.2})
    >>> [(device, len(payload)) for device, payload in outstanding.messages()]
    [('pump-1', 61)]
    >>> outstanding.acknowledge("pump-1", 1)
    >>> len(outstanding)
    0
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._devices: dict[str, _Device] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def all_sent(self) -> bool:
        return not any(state.unsent for state in self._devices.values())

    def add(self, device: str, fields: Mapping[str, Any]) -> None:
        """InvalidReading, and nothing is added, where the bus takes no message that holds it: it would be sent for
        ever."""
        state = self._devices.setdefault(device, _Device())
        numbers = {SOURCE_KEY: self._source, SEQUENCE_KEY: state.last + 1}
        encoded = json.dumps({**fields, **numbers}, separators=(",", ":")).encode()
        if len(encoded) > _MESSAGE_BYTES_MAX:
            raise InvalidReading(
                RejectionReason.TOO_LARGE, f"{len(encoded)} bytes, the local bus takes {_MESSAGE_BYTES_MAX}"
            )
        state.last += 1
        numbered = _Numbered(state.last, encoded)
        state.unacknowledged.append(numbered)
        state.unsent.append(numbered)
        self._count += 1

    def messages(self) -> Iterator[tuple[str, bytes]]:
        """(device, JSON array) of everything not yet sent, which then counts as sent."""
        for device, state in self._devices.items():
            while state.unsent:
                yield device, b"[" + b",".join(_fill(state.unsent)) + b"]"

    def acknowledge(self, device: str, sequence: int) -> None:
        """Everything of this device up to `sequence` is safe."""
        state = self._devices.get(device)
        while state and state.unacknowledged and state.unacknowledged[0].sequence <= sequence:
            state.unacknowledged.popleft()
            self._count -= 1

    def rewind(self) -> None:
        """Everything unacknowledged has to be sent again."""
        for state in self._devices.values():
            state.unsent = deque(state.unacknowledged)


def _fill(unsent: deque[_Numbered]) -> Iterator[bytes]:
    """Readings for one message: at least one, together about _MESSAGE_BYTES_MAX."""
    size = 0
    while unsent and (size == 0 or size + len(unsent[0].encoded) < _MESSAGE_BYTES_MAX):
        encoded = unsent.popleft().encoded
        size += len(encoded) + 1
        yield encoded
