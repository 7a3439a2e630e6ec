"""What one kind of number has been: a bounded sorted memory of where it was, and how widely it spreads.

Nothing is forgotten: when the memory is full, the values that lie closest together are thinned out, and from then on a
value that near to a remembered one is not kept. So the memory covers every region that was ever visited, with a
resolution that follows its size (200 values found as much as 620 on public series). Values are kept as float32, which
halves the state; whoever asks must round its numbers likewise (`Memory` compares them bit for bit).
"""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from bisect import bisect_left
from typing import Any, Final, Literal

# Readings whose remembered values can be taken back: an alert opens within a minute of readings of its first sign.
UNDO_READINGS: Final = 64
# An excursion may widen the spread by what this many standard deviations do, however absurd it is: nothing real that
# was seen comes near it, and one broken value must not hide the next fault.
WINSOR_DEVIATIONS: Final = 30.0
WINSOR_VARIANCES: Final = WINSOR_DEVIATIONS**2
# Readings before the spread is known well enough to call a value absurd.
_WINSOR_AFTER: Final = 32
# The share of the gaps between neighbours that a thinning closes.
_THIN_SHARE: Final = 0.3


class Memory:
    """Sorted values, their mean and variance; asked for the distance to the nearest one in standard deviations."""

    __slots__ = ("values", "size_max", "resolution", "mean", "variance", "latest", "latest_ages")

    def __init__(self, size_max: int) -> None:
        self.values, self.size_max, self.resolution = array("f"), size_max, 0.0
        self.mean = self.variance = 0.0
        # What was inserted during the last UNDO_READINGS, oldest first, and when: to be taken back by `forget_latest`.
        self.latest, self.latest_ages = array("f"), array("q")

    def winsorised(self, value: float, reading: int) -> float:
        """`value`, or the nearest one that may still move a mean."""
        if reading < _WINSOR_AFTER or self.variance <= 0.0:
            return value
        reach = WINSOR_DEVIATIONS * math.sqrt(self.variance)
        return min(max(value, self.mean - reach), self.mean + reach)

    def novelty(self, value: float, reading: int, weight: float, *, learn: bool, remember: bool) -> float:
        """Standard deviations to the nearest remembered value, the spread including `value`: 0 where there is none.

        `learn` moves mean and variance, `remember` keeps the value."""
        deviation = value - self.mean
        # Cheaper than always asking: only what lies that far out can be winsorised.
        if deviation * deviation > WINSOR_VARIANCES * self.variance:
            deviation = self.winsorised(value, reading) - self.mean
        moved = weight * deviation
        variance = (1.0 - weight) * (self.variance + moved * deviation)
        gap, place = self._gap(value)
        met = self.resolution
        if learn:
            self.mean += moved
            self.variance = variance
        if remember and gap > met:
            self._insert(place, value, reading)
        # Within the resolution it has been met. A memory without values has an infinite gap: the first is no news.
        return gap / math.sqrt(variance) if met < gap < math.inf and variance > 0.0 else 0.0

    def remember(self, value: float, reading: int) -> None:
        """Keep a value that came earlier."""
        gap, place = self._gap(value)
        if gap > self.resolution:
            self._insert(place, value, reading)

    def forget_latest(self, reading: int) -> None:
        """Take back what was inserted within UNDO_READINGS before `reading`."""
        for value, age in zip(self.latest, self.latest_ages, strict=True):
            place = bisect_left(self.values, value)
            kept = place < len(self.values) and self.values[place] == value
            if kept and reading - age <= UNDO_READINGS and len(self.values) > 1:
                del self.values[place]
        self.latest, self.latest_ages = array("f"), array("q")

    def _gap(self, value: float) -> tuple[float, int]:
        values = self.values
        place = bisect_left(values, value)
        gap = values[place] - value if place < len(values) else math.inf
        # Without `min`: this is the hottest line of all.
        if place and value - values[place - 1] < gap:
            gap = value - values[place - 1]
        return gap, place

    def _insert(self, place: int, value: float, reading: int) -> None:
        self.values.insert(place, value)
        if len(self.values) >= self.size_max:
            self._thin()
        latest, ages = self.latest, self.latest_ages
        latest.append(value)
        ages.append(reading)
        while reading - ages[0] >= UNDO_READINGS:
            del latest[0], ages[0]

    def _thin(self) -> None:
        values = self.values
        gaps = sorted(values[i + 1] - values[i] for i in range(len(values) - 1))
        self.resolution = resolution = max(self.resolution, gaps[int(_THIN_SHARE * len(gaps))])
        kept = values[:1]
        for value in values[1:-1]:
            if value - kept[-1] > resolution:
                kept.append(value)
        kept.append(values[-1])
        self.values = kept

    def state(self) -> dict[str, Any]:
        """The values fill their whole room, so that a state does not grow with experience."""
        return {
            "count": len(self.values),
            "values": packed(self.values, self.size_max),
            "latest": packed(self.latest, UNDO_READINGS),
            # All within UNDO_READINGS of the newest: one byte each, as old as it is then.
            "newest": self.latest_ages[-1] if self.latest_ages else 0,
            "latest_ages": base64.b64encode(bytes(self.latest_ages[-1] - age for age in self.latest_ages)).decode(),
            "numbers": [self.resolution, self.mean, self.variance],
        }

    def restore(self, state: dict[str, Any]) -> None:
        count, newest = int(state["count"]), int(state["newest"])
        ages = array("q", [newest - age for age in _bytes(state["latest_ages"])])
        if not 0 <= count <= self.size_max or len(ages) > UNDO_READINGS:
            raise ValueError(f"a memory of {self.size_max} values cannot hold {count}")
        self.values = unpacked(state["values"], self.size_max)[:count]
        self.latest, self.latest_ages = unpacked(state["latest"], UNDO_READINGS)[: len(ages)], ages
        self.resolution, self.mean, self.variance = map(float, state["numbers"])


def packed(values: array[float], room: int) -> str:
    """As text that is as long for few values as for `room` of them."""
    full = values + array(values.typecode, bytes(values.itemsize * (room - len(values))))
    if sys.byteorder == "big":
        full.byteswap()
    return base64.b64encode(full.tobytes()).decode()


def unpacked(text: Any, room: int, typecode: Literal["f", "d"] = "f") -> array[float]:
    raw = _bytes(text)
    values = array(typecode)
    if len(raw) != values.itemsize * room:
        raise ValueError(f"{len(raw)} bytes of remembered values instead of {values.itemsize * room}")
    values.frombytes(raw)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, binascii.Error) as error:
        raise ValueError(f"remembered values are no base64: {error}") from None
