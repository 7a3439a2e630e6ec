"""A machine in ordinary running as a stream of values: for questions that take many machines and many hours.

Sensor noise, a load that all four signals share (AR(1), correlation time a minute) and a daily wave. The demo's
machines are those of `machines`: they can be asked for any time in any order, and cost more.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

DAY_S: Final = 86_400
LOAD_S: Final = 60.0

Values = dict[str, float]


class Sensor(NamedTuple):
    """Mean, and how much noise, load and the daily wave move it."""

    mean: float
    noise: float
    load: float
    wave: float

    @property
    def sigma(self) -> float:
        return math.hypot(self.noise, self.load)


SENSORS: Final[Mapping[str, Sensor]] = {
    "temperature": Sensor(65.0, 0.6, 0.8, 2.0),  # degrees Celsius
    "vibration": Sensor(2.4, 0.12, 0.06, 0.1),  # mm/s
    "pressure": Sensor(6.0, 0.08, 0.05, 0.1),  # bar
    "current": Sensor(14.0, 0.4, 0.5, 0.8),  # ampere
}


def running(
    chance: random.Random, per_second: int, seconds: float, off: Mapping[str, float] = MappingProxyType({})
) -> Iterator[tuple[float, Values]]:
    """Seconds since the first reading, and what the sensors say; each is `off` by so much."""
    load, keep, phase = chance.gauss(0.0, 1.0), math.exp(-1.0 / (LOAD_S * per_second)), chance.random()
    for turn in range(int(seconds * per_second)):
        load = keep * load + math.sqrt(1.0 - keep * keep) * chance.gauss(0.0, 1.0)
        at = turn / per_second
        wave = math.sin(2.0 * math.pi * (at / DAY_S + phase))
        yield (
            at,
            {
                name: round(
                    s.mean + off.get(name, 0.0) + s.noise * chance.gauss(0.0, 1.0) + s.load * load + s.wave * wave, 3
                )
                for name, s in SENSORS.items()
            },
        )


def rise(values: Values, since_s: float) -> None:
    """A bearing: vibration and temperature rise for 40 s and stay 6 standard deviations high."""
    for name in ("vibration", "temperature"):
        values[name] += 6.0 * SENSORS[name].sigma * min(since_s / 40.0, 1.0)


def lose_pressure(values: Values, _since_s: float) -> None:
    """Pressure falls at once to 60 %."""
    values["pressure"] *= 0.6
