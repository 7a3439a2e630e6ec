"""Simulated machines: what four sensors of one machine would say at any time. Pure functions of time and seed.

Every number comes from a hash of (seed, signal, time), so a reading can be asked for in any order and any process, and
is always the same. A machine's load wanders slowly and moves all four signals; each sensor adds its own noise; values
are rounded as real transmitters round them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import NormalDist
from typing import Final, NamedTuple, Protocol

from plantwatch.telemetry import EpochMs

_NORMAL: Final = NormalDist()
# The load is drawn once in this time and joined by straight lines.
_LOAD_STEP_MS: Final = 5_000
# An AR(1) process of coefficient 0.9 remembers about thirty steps; older ones weigh less than 5 %.
_LOAD_MEMORY: Final = 0.9
_LOAD_TERMS: Final = 30


class Signal(NamedTuple):
    """One sensor: its mean in running, how far load and wave move it, and its noise (standard deviations)."""

    mean: float
    load: float
    wave: float
    wave_period_s: float
    noise: float
    digits: int

    @property
    def sigma(self) -> float:
        """Standard deviation in ordinary running."""
        return math.sqrt(self.load**2 + self.wave**2 / 2 + self.noise**2)


SIGNALS: Final[Mapping[str, Signal]] = {
    "temperature": Signal(62.0, 0.6, 0.8, 240.0, 0.25, 3),  # degrees Celsius
    "vibration": Signal(2.2, 0.10, 0.04, 90.0, 0.08, 4),  # mm/s, root mean square
    "pressure": Signal(5.1, 0.06, 0.03, 150.0, 0.04, 4),  # bar
    "current": Signal(14.0, 0.5, 0.2, 120.0, 0.2, 3),  # ampere
}


class Moment(NamedTuple):
    """What a fault may change: the values of one machine at one time."""

    machine: Machine
    at: EpochMs
    values: dict[str, float]


class FaultInjector(Protocol):
    """Changes what the sensors say from `started_at` to `ended_at` (exclusive)."""

    @property
    def kind(self) -> str: ...

    @property
    def started_at(self) -> EpochMs: ...

    @property
    def ended_at(self) -> EpochMs: ...

    def apply(self, moment: Moment) -> None: ...


@dataclass(frozen=True, slots=True)
class DriftingBearing:
    """Vibration and temperature rise together and stay high, as a bearing does that runs dry."""

    started_at: EpochMs
    ended_at: EpochMs
    rise_s: float = 40.0
    sigmas: float = 6.0
    kind: str = "drifting_bearing"

    def apply(self, moment: Moment) -> None:
        part = min(1.0, (moment.at - self.started_at) / 1000 / self.rise_s)
        for name in ("vibration", "temperature"):
            moment.values[name] += part * self.sigmas * SIGNALS[name].sigma


@dataclass(frozen=True, slots=True)
class PressureLoss:
    """Pressure falls at once to a part of what it was: a burst hose, a valve left open."""

    started_at: EpochMs
    ended_at: EpochMs
    remaining: float = 0.6
    kind: str = "pressure_loss"

    def apply(self, moment: Moment) -> None:
        moment.values["pressure"] *= self.remaining


@dataclass(frozen=True, slots=True)
class StuckSensor:
    """One sensor repeats its last value; the machine itself is well."""

    started_at: EpochMs
    ended_at: EpochMs
    signal: str = "temperature"
    kind: str = "stuck_sensor"

    def apply(self, moment: Moment) -> None:
        moment.values[self.signal] = moment.machine.healthy(self.started_at)[self.signal]


@dataclass(frozen=True)
class Machine:
    """One machine with four sensors.

    >>> Machine("pump-1", seed=1).reading(1_700_000_000_000) == Machine("pump-1", seed=1).reading(1_700_000_000_000)
    True
    """

    name: str
    seed: int
    faults: Sequence[FaultInjector] = field(default=())

    def reading(self, at_ms: EpochMs) -> dict[str, float]:
        """What the four sensors say."""
        values = self.healthy(at_ms)
        for fault in self.faults:
            if fault.started_at <= at_ms < fault.ended_at:
                fault.apply(Moment(self, at_ms, values))
        return {name: round(value, SIGNALS[name].digits) for name, value in values.items()}

    def healthy(self, at_ms: EpochMs) -> dict[str, float]:
        """What they would say without any fault, not rounded."""
        load = self._load(at_ms)
        return {
            name: signal.mean + load * signal.load + self._wave(name, signal, at_ms) + self._noise(name, signal, at_ms)
            for name, signal in SIGNALS.items()
        }

    def _load(self, at_ms: EpochMs) -> float:
        step, rest = divmod(at_ms, _LOAD_STEP_MS)
        before, after = _load_at(self.seed, self.name, step), _load_at(self.seed, self.name, step + 1)
        return before + (after - before) * rest / _LOAD_STEP_MS

    def _wave(self, name: str, signal: Signal, at_ms: EpochMs) -> float:
        phase = _uniform(self.seed, self.name, f"{name}/phase", 0)
        return signal.wave * math.sin(2 * math.pi * (at_ms / 1000 / signal.wave_period_s + phase))

    def _noise(self, name: str, signal: Signal, at_ms: EpochMs) -> float:
        return signal.noise * _NORMAL.inv_cdf(_uniform(self.seed, self.name, name, at_ms))


@lru_cache(maxsize=4096)
def _load_at(seed: int, machine: str, step: int) -> float:
    """The AR(1) process at one step, standard normal, as its sum of past shocks."""
    shocks = (
        _LOAD_MEMORY**age * _NORMAL.inv_cdf(_uniform(seed, machine, "load", step - age)) for age in range(_LOAD_TERMS)
    )
    return math.sqrt(1 - _LOAD_MEMORY**2) * sum(shocks)


def _uniform(seed: int, machine: str, purpose: str, at: int) -> float:
    """A number in (0, 1) that belongs to these four alone."""
    digest = hashlib.blake2b(f"{seed}/{machine}/{purpose}/{at}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") + 0.5) / 2**64
