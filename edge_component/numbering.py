"""Who said what, once: the gateway's own numbers for readings, and which of a source's were taken already.

A source (a driver component on the gateway) may number its readings per device: 1, 2, 3, without holes. Then it can
send again what was not acknowledged, and the component takes each exactly once. A source that starts anew takes a new
name, so that its numbers begin at 1 again. Pure; the spool keeps both on disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Taking(Enum):
    """What to do with a numbered reading of a source."""

    NEXT = "next"
    REPEATED = "repeated"
    TOO_EARLY = "too_early"
    """One before it is still missing: it is refused, or the missing one could never be told from a repeat."""


class Numbering:
    """Sequences of this boot epoch (per device, from 1), and the last reading taken of every source."""

    def __init__(self, taken: Mapping[tuple[str, str], int]) -> None:
        self._taken = dict(taken)
        self._sequences: dict[str, int] = {}

    def next_sequence(self, device: str) -> int:
        sequence = self._sequences.get(device, 0) + 1
        self._sequences[device] = sequence
        return sequence

    def take(self, source: str, device: str, sequence: int) -> Taking:
        """Classify one reading; NEXT also notes it as taken."""
        expected = self._taken.get((source, device), 0) + 1
        if sequence == expected:
            self._taken[source, device] = sequence
            return Taking.NEXT
        return Taking.REPEATED if sequence < expected else Taking.TOO_EARLY

    def last_taken(self, source: str, device: str) -> int:
        """0 where nothing was taken yet."""
        return self._taken.get((source, device), 0)

    @property
    def devices(self) -> Mapping[str, int]:
        """Device -> its last sequence in this epoch."""
        return self._sequences
