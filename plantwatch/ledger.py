"""Which readings have arrived: what is a repeat, and what is missing.

A gateway numbers its readings per device (epoch, sequence), so what arrived is a few ranges, what is missing are the
holes between them, and a repeat is known exactly, however late. A plain thing's readings are known by their keys; of
those only the most recent are remembered.

What a gateway dropped on purpose it declares. A reading that comes nevertheless (it was on its way) counts as arrived.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any, Final

from plantwatch.telemetry import Reading

# A thing resends what was not acknowledged: at most its in-flight window, a few dozen messages.
RECENT_KEYS_MAX: Final = 128
# Each hole is a batch that was lost or is late. With more than this something else is wrong, and the oldest range is
# forgotten: what is late may then be taken twice (the stores' keys tell), but never refused as a repeat.
RANGES_MAX: Final = 256
# Boots of gateways that still can have batches on their way.
EPOCHS_MAX: Final = 4


class Sequences:
    """The sequence numbers seen in one epoch, as sorted, separate, inclusive ranges."""

    __slots__ = ("_first", "_last")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        for first, last in ranges:
            self._first.append(first)
            self._last.append(last)

    def add(self, sequence: int) -> bool:
        """Note one; False where it was seen before.

        >>> seen = Sequences(); seen.add(1), seen.add(2), seen.add(5), seen.add(2), seen.ranges()
        (True, True, True, False, [(1, 2), (5, 5)])
        """
        first, last = self._first, self._last
        at = bisect_right(first, sequence) - 1  # the range that begins at or before it
        if at >= 0 and sequence <= last[at]:
            return False
        follows = at >= 0 and last[at] == sequence - 1
        leads = at + 1 < len(first) and first[at + 1] == sequence + 1
        if follows and leads:
            last[at] = last.pop(at + 1)
            del first[at + 1]
        elif follows:
            last[at] = sequence
        elif leads:
            first[at + 1] = sequence
        else:
            first.insert(at + 1, sequence)
            last.insert(at + 1, sequence)
            if len(first) > RANGES_MAX:
                del first[0]
                del last[0]
        return True

    def add_range(self, first: int, last: int) -> None:
        """Note all from `first` to `last`, however many.

        >>> seen = Sequences([(1, 2), (5, 5)]); seen.add_range(2, 4); seen.ranges()
        [(1, 5)]
        """
        apart = [each for each in self.ranges() if each[1] < first - 1 or each[0] > last + 1]
        joined = [each for each in self.ranges() if each not in apart]
        first, last = min([first, *(each[0] for each in joined)]), max([last, *(each[1] for each in joined)])
        kept = sorted([*apart, (first, last)])[-RANGES_MAX:]
        self._first, self._last = [each[0] for each in kept], [each[1] for each in kept]

    def without(self, other: Sequences) -> list[tuple[int, int]]:
        """Those of these that `other` does not have.

        >>> Sequences([(1, 9)]).without(Sequences([(1, 2), (5, 6)]))
        [(3, 4), (7, 9)]
        """
        left = []
        for first, last in self.ranges():
            at = first
            for known_first, known_last in other.ranges():
                if known_last < at or known_first > last:
                    continue
                if known_first > at:
                    left.append((at, known_first - 1))
                at = known_last + 1
            if at <= last:
                left.append((at, last))
        return left

    @property
    def newest(self) -> int:
        return self._last[-1] if self._last else 0

    def ranges(self) -> list[tuple[int, int]]:
        return list(zip(self._first, self._last, strict=True))

    def missing(self) -> list[tuple[int, int]]:
        """The holes: ranges that did not arrive although a later number did. Numbers begin at 1."""
        ends = [0, *self._last]
        return [(end + 1, first - 1) for end, first in zip(ends, self._first, strict=False) if first > end + 1]


class Arrivals:
    """Which readings of one device have arrived: exact for gateways, the most recent ones for plain things."""

    __slots__ = ("_dropped", "_epochs", "_oldest", "_recent")

    def __init__(self) -> None:
        self._epochs: dict[tuple[str, int], Sequences] = {}
        self._dropped: dict[tuple[str, int], Sequences] = {}
        # A ring of 64-bit hashes: 1 kB a device, where keys as text would take thirty.
        self._recent = array("Q")
        self._oldest = 0

    def note(self, reading: Reading) -> bool:
        """Note one; False where it had arrived before."""
        if reading.gateway:
            return self._sequences(reading.gateway, reading.epoch).add(reading.sequence)
        known = int.from_bytes(hashlib.blake2b(reading.key.encode(), digest_size=8).digest())
        if known in self._recent:
            return False
        if len(self._recent) < RECENT_KEYS_MAX:
            self._recent.append(known)
        else:
            self._recent[self._oldest] = known
            self._oldest = (self._oldest + 1) % RECENT_KEYS_MAX
        return True

    def declare(self, gateway: str, epoch: int, first: int, last: int) -> int:
        """Note what the gateway dropped on purpose; how many of them neither arrived nor were declared before."""
        seen = self._epochs.get((gateway, epoch), Sequences())
        declared = self._dropped.setdefault((gateway, epoch), Sequences())
        before = _count(declared.without(seen))
        declared.add_range(first, last)
        if len(self._dropped) > EPOCHS_MAX:
            del self._dropped[next(iter(self._dropped))]
        return max(0, _count(declared.without(seen)) - before)

    def declared_drops(self) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """(gateway, epoch) -> ranges that the gateway dropped on purpose and that did not come nevertheless."""
        return {
            epoch: ranges
            for epoch, declared in self._dropped.items()
            if (ranges := declared.without(self._epochs.get(epoch, Sequences())))
        }

    def missing(self) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """(gateway, epoch) -> ranges of sequence numbers that did not arrive and that nobody declared."""
        none = Sequences()
        return {
            epoch: unexplained
            for epoch, seen in self._epochs.items()
            if (unexplained := Sequences(seen.missing()).without(self._dropped.get(epoch, none)))
        }

    def state(self) -> dict[str, Any]:
        return {
            "epochs": [[*epoch, seen.ranges()] for epoch, seen in self._epochs.items()],
            "dropped": [[*epoch, declared.ranges()] for epoch, declared in self._dropped.items()],
            "recent": [*self._recent[self._oldest :], *self._recent[: self._oldest]],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Arrivals:
        arrivals = cls()
        for gateway, epoch, ranges in state["epochs"]:
            arrivals._epochs[gateway, epoch] = Sequences((first, last) for first, last in ranges)
        for gateway, epoch, ranges in state.get("dropped", ()):  # states of before know of none
            arrivals._dropped[gateway, epoch] = Sequences((first, last) for first, last in ranges)
        arrivals._recent.extend(state["recent"])
        return arrivals

    def join(self, other: Arrivals) -> None:
        """Know also what `other` knows: two shards became one. A device's sender was in one of them at a time, so of
        one numbering the record that is further has all that the other has."""
        for epoch, seen in other._epochs.items():
            mine = self._epochs.get(epoch)
            if mine is None or mine.newest < seen.newest:
                self._epochs[epoch] = seen
        for epoch in list(self._epochs)[:-EPOCHS_MAX]:
            del self._epochs[epoch]
        for epoch, theirs in other._dropped.items():
            for first, last in theirs.ranges():
                self._dropped.setdefault(epoch, Sequences()).add_range(first, last)
        for epoch in list(self._dropped)[:-EPOCHS_MAX]:
            del self._dropped[epoch]
        # Which of the two is newer nobody can tell here, and half of them still is more than a thing repeats.
        half = RECENT_KEYS_MAX // 2
        both = [*self.state()["recent"][-half:], *other.state()["recent"][-half:]]
        self._recent, self._oldest = array("Q", dict.fromkeys(both)), 0

    def _sequences(self, gateway: str, epoch: int) -> Sequences:
        seen = self._epochs.get((gateway, epoch))
        if seen is None:
            seen = self._epochs[gateway, epoch] = Sequences()
            if len(self._epochs) > EPOCHS_MAX:  # the one that was heard of longest ago
                del self._epochs[next(iter(self._epochs))]
        elif len(self._epochs) > 1 and next(reversed(self._epochs)) != (gateway, epoch):
            # A backlog drains boot by boot while what is urgent comes from the newest: both are in use.
            self._epochs[gateway, epoch] = self._epochs.pop((gateway, epoch))
        return seen


def _count(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)
