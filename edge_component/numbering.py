"""Who said what, once: the gateway's own numbers for readings, and which of a source's were taken already.

A source (a driver component on the gateway) may number its readings per device: 1, 2, 3, without holes. Then it can
send again what was not acknowledged, and the component takes each exactly once. A source that starts anew takes a new
name, so that its numbers begin at 1 again.

The spool keeps all numbers on disk; here are those in use. So a device or a source that was silent for long goes on
where it was, however many others came between.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import Enum
from typing import Final, Generic, TypeVar

# As many as there can be machines with a state of their own; about 2 MB.
DEVICES_MAX: Final = 10_000
# Each device's driver before and after its restart; about 5 MB.
SOURCES_MAX: Final = 20_000


SourceDevice = tuple[str, str]
"""(source, device): what a source numbers."""


class Taking(Enum):
    """What to do with a numbered reading of a source."""

    NEXT = "next"
    REPEATED = "repeated"
    TOO_EARLY = "too_early"
    """One before it is still missing: it is refused, or the missing one could never be told from a repeat."""


Key = TypeVar("Key", bound=Hashable)


class LastNumbers(Generic[Key]):
    """Key -> its last number, 0 where there is none. `recall` reads from disk those that are not in memory.

    Two halves, the recent one and the older one: who was not set while the recent half filled twice is forgotten. An
    order kept with every reading would cost more than the number.
    """

    def __init__(self, recall: Callable[[Key], int], kept_max: int) -> None:
        self._recall = recall
        self._half = kept_max // 2
        self._recent: dict[Key, int] = {}
        self._older: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def get(self, key: Key) -> int:
        number = self._recent.get(key)
        if number is None:
            number = self._older.get(key)
        return self._recall(key) if number is None else number

    def set(self, key: Key, number: int) -> None:
        self._recent[key] = number

    def trim(self) -> None:
        """Everything must be on disk. Then at most `kept_max` remain, and what was set since the last call."""
        if len(self._recent) > self._half:
            self._older, self._recent = self._recent, {}


class Numbering:
    """Sequences of this boot epoch (per device, from 1), and the last reading taken of every source."""

    def __init__(
        self,
        *,
        last_taken: Callable[[SourceDevice], int],
        last_numbered: Callable[[str], int],
        sources_max: int = SOURCES_MAX,
        devices_max: int = DEVICES_MAX,
    ) -> None:
        self._taken = LastNumbers(last_taken, sources_max)
        self._sequences = LastNumbers(last_numbered, devices_max)
        self._moved: dict[str, int] = {}

    def __len__(self) -> int:
        """How many numbers are in memory."""
        return len(self._taken) + len(self._sequences)

    def next_sequence(self, device: str) -> int:
        sequence = self._sequences.get(device) + 1
        self._sequences.set(device, sequence)
        self._moved[device] = sequence
        return sequence

    def take(self, source: str, device: str, sequence: int) -> Taking:
        """Classify one reading; NEXT also notes it as taken."""
        key = source, device
        expected = self._taken.get(key) + 1
        if sequence == expected:
            self._taken.set(key, sequence)
            return Taking.NEXT
        return Taking.REPEATED if sequence < expected else Taking.TOO_EARLY

    def last_taken(self, source: str, device: str) -> int:
        """0 where nothing was taken yet."""
        return self._taken.get((source, device))

    def all_is_on_disk(self) -> None:
        """Only now may anything be forgotten here: what the spool does not know yet would be numbered again."""
        self._taken.trim()
        self._sequences.trim()

    def take_moved(self) -> dict[str, int]:
        """Device -> its last sequence, of the devices that were numbered since the last call."""
        moved, self._moved = self._moved, {}
        return moved
