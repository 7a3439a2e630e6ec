"""A bundle small enough to be made for each test: two signals of pumps that wander a little about 10 and 5."""

from __future__ import annotations

import base64
import random
from functools import cache
from typing import Any, Final

from plantwatch.bundle.model import Bundle
from plantwatch.detectors.novelty import Novelty
from plantwatch.detectors.prior import MET, UNMET, Prior, PriorView

READINGS: Final = 4_000
AT: Final = 1_763_877_600_000


@cache
def bundle(name: str = "pumps") -> Bundle:
    return Bundle(name, machine_type="pump", priors={"flow": prior(10.0, 1), "pressure": prior(5.0, 2)})


def prior(mean: float, seed: int) -> Prior:
    """What one machine met in `READINGS` readings."""
    detector, random_ = Novelty(), random.Random(seed)
    for _ in range(READINGS):
        detector.step(random_.gauss(mean, 0.5))
    state = detector.state()
    scalars = state["scalars"]
    return Prior(
        machines=1,
        readings=READINGS,
        low=scalars["_low"],
        inverse=scalars["_inverse"],
        centre=scalars["_centre"],
        weight=scalars["_weight"],
        raw=_view(*state["views"][0]),
        slow=_view(*state["views"][1]),
    )


def _view(cells: str, numbers: list[Any]) -> PriorView:
    met = bytes(MET if cell == MET else UNMET for cell in base64.b64decode(cells))
    variance, count, excess = numbers[:3]
    return PriorView(met, variance, count, excess)
