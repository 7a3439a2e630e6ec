"""One sensor of one machine as it is watched: its checks, its process detector, its part in the present evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from plantwatch import native
from plantwatch.detectors.base import Detector
from plantwatch.detectors.primed import Primed
from plantwatch.detectors.prior import Prior
from plantwatch.explain import price_of_looks, shares
from plantwatch.quality import SensorQuality
from plantwatch.scoring import READY_IN_S_MAX
from plantwatch.telemetry import EpochMs
from plantwatch.watch_config import WatchConfig


class WatchedSignal:
    """Its part in the evidence is 0 whenever the machine is being watched without evidence.

    A machine with known states has one of these
    for each state in which the sensor was met: what is ordinary while cleaning says nothing about running.
    """

    __slots__ = ("name", "quality", "detector", "check", "step", "handle", "evidence", "moved_at")
    is_deviation = False
    """What is watched is no value of the sensor, but how far it is from what the other signals say."""

    def __init__(self, name: str, config: WatchConfig, prior: Prior | None) -> None:
        self.name = name
        self.quality = SensorQuality(name, config.quality)
        self.detector: Detector = Primed(config.detector, prior) if prior else native.novelty(config.detector)
        # Bound once: four attribute look-ups fewer for each value.
        self.check, self.step = self.quality.check, self.detector.step
        # What the native core knows the detector by; 0 until it is known to be one of its own.
        self.handle = 0
        self.evidence = 0.0
        # When it first added to the present evidence; meaningless while its part is 0.
        self.moved_at: EpochMs = 0

    def take_over(self, before: WatchedSignal) -> None:
        """The machine came into the state of this one: go on where the sensor was in the state before."""
        self.evidence, self.moved_at = before.evidence, before.moved_at
        self.quality.set_clock(before.quality.last_at)

    def expected(self) -> tuple[float, float] | None:
        """The band of values that would have been ordinary; None while there is none."""
        return self.detector.expected()

    def forget_evidence(self) -> None:
        self.evidence = 0.0

    def state(self) -> list[Any]:
        """As JSON can hold it."""
        return [self.quality.state(), self.detector.state(), self.evidence, self.moved_at]

    def restore(self, state: Sequence[Any]) -> None:
        """Go on from a `state`; TypeError or ValueError where it is none."""
        # Version 0.1 did not know when.
        quality, detector, self.evidence, self.moved_at = state if len(state) > 3 else (*state, 0)
        self.quality.restore(quality)
        self.detector.restore(detector)


class RelatedSignal(WatchedSignal):
    """How far a signal is from what the others say (`plantwatch.detectors.relation`), watched under its own name."""

    __slots__ = ("said",)
    is_deviation = True

    def __init__(self, name: str, config: WatchConfig, prior: Prior) -> None:
        super().__init__(name, config, prior)
        # The value that the other signals say, with the last reading.
        self.said = 0.0

    def expected(self) -> tuple[float, float] | None:
        """In the signal's own unit, as everybody else's."""
        band = self.detector.expected()
        return band and (self.said + band[0], self.said + band[1])


Signals = dict[str, WatchedSignal]
Found = Sequence[tuple[float, WatchedSignal]]
"""The surprises of a reading above 0, each with its signal."""


def strangest(found: Found, signals: int) -> float:
    """The machine's surprise: its strangest signal's, less what looking at so many costs."""
    surprise = max((surprise for surprise, _ in found), default=0.0)
    return max(0.0, surprise - price_of_looks(signals))


def shares_of(found: Found) -> tuple[tuple[str, float], ...]:
    return shares([(signal.name, surprise) for surprise, signal in found])


def ready_in_s(signals: Iterable[WatchedSignal]) -> int | None:
    """See ScoredReading. The first signal that is ready ends the machine's warm-up."""
    waits = [
        left * interval / 1000.0
        for signal in signals
        if (left := signal.detector.readings_left) and (interval := signal.quality.interval_ms)
    ]
    return min(math.ceil(min(waits)), READY_IN_S_MAX) if waits else None
