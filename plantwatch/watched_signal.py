"""One sensor of one machine as it is watched: its checks, its process detector, its part in the present evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from plantwatch import native
from plantwatch.detectors.base import Detector
from plantwatch.detectors.primed import Primed
from plantwatch.detectors.prior import Prior
from plantwatch.explain import price_of_looks, shares
from plantwatch.quality import SensorQuality
from plantwatch.scoring import READY_IN_S_MAX
from plantwatch.watch_config import WatchConfig


class WatchedSignal:
    """Its part in the evidence is 0 whenever the machine is being watched without evidence."""

    __slots__ = ("name", "quality", "detector", "check", "step", "handle", "evidence")

    def __init__(self, name: str, config: WatchConfig, prior: Prior | None) -> None:
        self.name = name
        self.quality = SensorQuality(name, config.quality)
        self.detector: Detector = Primed(config.detector, prior) if prior else native.novelty(config.detector)
        # Bound once: four attribute look-ups fewer for each value.
        self.check, self.step = self.quality.check, self.detector.step
        # What the native core knows the detector by; 0 until it is known to be one of its own.
        self.handle = 0
        self.evidence = 0.0


def strangest(found: Sequence[tuple[float, WatchedSignal]], signals: int) -> float:
    """The machine's surprise: its strangest signal's, less what looking at so many costs."""
    surprise = max((surprise for surprise, _ in found), default=0.0)
    return max(0.0, surprise - price_of_looks(signals))


def shares_of(found: Sequence[tuple[float, WatchedSignal]]) -> tuple[tuple[str, float], ...]:
    return shares([(signal.name, surprise) for surprise, signal in found])


def ready_in_s(signals: Iterable[WatchedSignal]) -> int | None:
    """See ScoredReading. The first signal that is ready ends the machine's warm-up."""
    waits = [
        left * interval / 1000.0
        for signal in signals
        if (left := signal.detector.readings_left) and (interval := signal.quality.interval_ms)
    ]
    return min(math.ceil(min(waits)), READY_IN_S_MAX) if waits else None
