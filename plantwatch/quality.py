"""Sensor quality: is it the sensor, not the process, that misbehaves?

    stuck         a signal that normally varies repeats exactly one value for far longer than it ever did
    out of range  a value that the sensor or the physics cannot give (configured)
    gap           the sensor was silent for far longer than its usual interval; found by the next reading
    not finite    the sensor says, several times in a row, that it has no value

A value that fails a check is neither scored nor learnt by the process detector, and neither is one that is merely
suspected: a repetition is withheld as soon as it lasts longer than any before, so that a stuck sensor, whose short mean
creeps to an odd place, becomes no process anomaly. The opposite mistake is avoided too: a repeated value that is itself
new to the process (a pressure that falls to exactly 0 and stays) is the process's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from plantwatch.incident import Fault
from plantwatch.telemetry import EpochMs


@dataclass(frozen=True, slots=True)
class PhysicalRange:
    """What the sensors whose name matches `pattern` (as in a shell: `temp*`) can give at all, in their own unit."""

    pattern: str
    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"range of {self.pattern!r}: {self.low} is not below {self.high}")


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """When a sensor counts as faulty; the same for all signals but for the ranges."""

    ranges: tuple[PhysicalRange, ...] = ()
    """The first whose pattern matches a signal's name holds."""
    stuck_readings: int = 25
    """Repetitions below which no signal is called stuck: 5 s at 5 readings/s, 25 s at one."""
    stuck_factor: float = 6.0
    """How much longer than the longest ordinary repetition. A signal whose longest run among N readings was L repeats
    with a chance of about N^(-1/L) each time, so a run of 6 L has the chance N^-6: never."""
    stuck_changes: int = 50
    """Changes before a signal counts as one that varies."""
    missing_in_a_row: int = 5
    """Absent values before the sensor counts as faulty: one or two are a lost field-bus cycle."""
    gap_s: float = 60.0
    """Silence below which nothing is called a gap."""
    gap_factor: float = 20.0
    """How much longer than the usual interval; exponential arrivals exceed 20 means once in 5e8."""
    gap_readings: int = 16
    """Intervals before there is a usual one."""

    def __post_init__(self) -> None:
        for name in ("stuck_readings", "stuck_factor", "stuck_changes", "missing_in_a_row", "gap_s", "gap_factor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive")

    def range_of(self, signal: str) -> tuple[float, float]:
        for known in self.ranges:
            if fnmatchcase(signal, known.pattern):
                return known.low, known.high
        return -math.inf, math.inf


# The usual interval is a mean over about this many readings.
_INTERVALS_YOUNG: Final = 32
_INTERVAL_WEIGHT: Final = 1.0 / _INTERVALS_YOUNG
# A gap longer than twice the longest known silence: nights and weekends are a surprise once.
_LONGEST_FACTOR: Final = 2
# So many readings usually take so long; half of it allows for a quick stretch, and not for another sampling rate.
_HELD_SHARE_MIN: Final = 0.5
# A repetition shorter than this is withheld from nobody.
_REPEATS_ALWAYS_FED: Final = 2


class SensorQuality:
    """The checks of one sensor. `fault` is what is wrong with it now."""

    __slots__ = (
        "fault", "_limits", "_low", "_high", "_gap_ms", "_attention", "_last", "last_at", "_repeats", "_longest",
        "_changes", "_missing", "_intervals", "_interval", "_longest_silence", "_news", "_held_since", "_held_interval",
    )  # fmt: skip

    def __init__(self, signal: str, limits: QualityLimits) -> None:
        self.fault: Fault | None = None
        self._limits = limits
        self._low, self._high = limits.range_of(signal)
        self._gap_ms = limits.gap_s * 1000.0
        # Something is under way (a repetition, missing values, a fault), so that the next value is looked at closely.
        self._attention = True
        self._last = math.nan
        self.last_at: EpochMs = 0
        self._repeats = self._longest = self._changes = self._missing = self._intervals = 0
        self._interval = self._longest_silence = 0.0
        self._news = False
        # Of the present repetition: when its first value came, and the usual interval then.
        self._held_since: EpochMs = 0
        self._held_interval = 0.0

    def check(self, value: float, at: EpochMs) -> bool:
        """A value has come: may it be scored and learnt? `at` never runs backwards."""
        interval = at - self.last_at
        if value == self._last or self._attention or interval > self._gap_ms or not self._low <= value <= self._high:
            return self._check_closely(value, at)
        self._last = value
        self.last_at = at
        self._interval += _INTERVAL_WEIGHT * (interval - self._interval)
        self._intervals += 1
        self._changes += 1
        return True

    def check_unlearnt(self, value: float, at: EpochMs) -> bool:
        """Like `check`, but nothing of what it finds becomes experience of ordinary running."""
        known = [getattr(self, name) for name in _EXPERIENCE]
        may_be_scored = self.check(value, at)
        for name, value_known in zip(_EXPERIENCE, known, strict=True):
            setattr(self, name, value_known)
        return may_be_scored

    def check_missing(self, at: EpochMs) -> None:
        """The sensor says that it has no value."""
        self.last_at = at
        self._attention = True
        self._missing += 1
        if self._missing >= self._limits.missing_in_a_row:
            self.fault = Fault.NOT_FINITE

    def is_news(self) -> None:
        """The process detector finds the last value itself very strange: its repetition is the process's matter."""
        self._news = True

    def _check_closely(self, value: float, at: EpochMs) -> bool:
        if value == self._last and not self._repeats:
            self._held_since, self._held_interval = self.last_at, self._interval
        gap = self._is_gap(at)
        withheld = self._repeat(value)
        self._missing = 0
        if not self._low <= value <= self._high:
            self.fault = Fault.OUT_OF_RANGE
        elif self._is_stuck(at):
            self.fault = Fault.STUCK
        elif gap:
            self.fault = Fault.GAP
        else:
            self.fault = None
        # The quick path's mean forgets so slowly that it would begin far below the usual interval.
        young = self._intervals < _INTERVALS_YOUNG
        self._attention = young or self.fault is not None or self._repeats > 0
        return self.fault is None and not withheld

    def _repeat(self, value: float) -> bool:
        """Count repetitions; True where this one lasts longer than any before, in a signal that varies."""
        if value == self._last:
            self._repeats += 1
            return self.withheld
        # A repetition that was a fault is no experience of ordinary running.
        if self.fault is not Fault.STUCK:
            self._longest = max(self._longest, self._repeats)
        self._last = value
        self._repeats = 0
        self._news = False
        self._changes += 1
        return False

    @property
    def withheld(self) -> bool:
        """The last value repeats for longer than any before, in a signal that varies: it may be the sensor's fault."""
        usual = max(self._longest, _REPEATS_ALWAYS_FED)
        return self._repeats > usual and self._changes >= self._limits.stuck_changes and not self._news

    def _is_stuck(self, at: EpochMs) -> bool:
        limits = self._limits
        repeats_max = max(limits.stuck_readings, limits.stuck_factor * self._longest)
        if self._repeats < repeats_max or self._changes < limits.stuck_changes or self._news:
            return False
        # In time, too: a sensor that is asked more often than before repeats what it has, and is well.
        return at - self._held_since >= _HELD_SHARE_MIN * repeats_max * self._held_interval

    def _is_gap(self, at: EpochMs) -> bool:
        if not self.last_at:
            self.last_at = at
            return False
        interval, self.last_at = at - self.last_at, at
        limits = self._limits
        known = self._intervals >= limits.gap_readings
        patience = max(self._gap_ms, limits.gap_factor * self._interval, _LONGEST_FACTOR * self._longest_silence)
        self._intervals += 1
        if known and interval > patience:
            self._longest_silence = float(interval)
            return True
        if interval > self._longest_silence:
            self._longest_silence = float(interval)
        self._interval += max(_INTERVAL_WEIGHT, 1.0 / self._intervals) * (interval - self._interval)
        return False

    @property
    def interval_ms(self) -> float | None:
        """The usual time between two readings; None before there are two."""
        return self._interval if self._intervals else None

    def set_clock(self, at: EpochMs) -> None:
        """The device's clock was set back: the silence before says nothing."""
        self.last_at = at
        self._held_since = min(self._held_since, at)

    def expected(self, ordinary: tuple[float, float] | None) -> tuple[float | None, float | None]:
        """The band that the last value should have been in: the physical one where it left that."""
        if self.fault is Fault.OUT_OF_RANGE:
            return _finite_or_none(self._low), _finite_or_none(self._high)
        return ordinary or (None, None)

    def state(self) -> list[Any]:
        """Numbers and words as JSON can hold them; None for what is not yet known."""
        return [None if value != value else value for value in (getattr(self, name) for name in _STATE)]

    def restore(self, state: Sequence[Any]) -> None:
        """Raises ValueError where it is not a state of `state()`."""
        if len(state) not in (len(_STATE), _STATE_0_1):
            raise ValueError(f"a sensor's quality has {len(_STATE)} values, not {len(state)}")
        for name, value in zip(_STATE, state, strict=False):
            setattr(self, name, math.nan if value is None and name == "_last" else value)
        self.fault = None if self.fault is None else Fault(self.fault)


_STATE: Final = (
    "fault", "_attention", "_last", "last_at", "_repeats", "_longest", "_changes", "_missing", "_intervals",
    "_interval", "_longest_silence", "_news", "_held_since", "_held_interval",
)  # fmt: skip
# Version 0.1 had all but the last two.
_STATE_0_1: Final = len(_STATE) - 2


# What `check` learns about ordinary running, as against what it knows of the present.
_EXPERIENCE: Final = ("_longest", "_changes", "_intervals", "_interval", "_longest_silence")


def _finite_or_none(limit: float) -> float | None:
    return limit if math.isfinite(limit) else None
