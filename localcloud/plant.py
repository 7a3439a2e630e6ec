"""The demo's plant: six machines behind a gateway, four plain things, three faults, and when it all happens.

Simulated time runs `SPEED` times faster than the clock on the wall while the detectors learn, and meets it exactly when
the live part begins; from then on a reading is sent at its observed time. What the sensors say depends on the time
since the start only, so every run tells the same story. Nothing here knows how readings travel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from localcloud.report import Expected
from localcloud.simulator.machines import DriftingBearing, FaultInjector, Machine, PressureLoss, StuckSensor
from plantwatch.incident import Kind
from plantwatch.telemetry import EpochMs

SEED: Final = 20261123
# Where the simulated machines' own time begins, whenever the demo is run.
ORIGIN: Final[EpochMs] = 1_700_000_000_000
LEARN_S: Final = 30
SPEED: Final = 20
LIVE_S: Final = 70
FIRST_FAULT_S: Final = 8

GATEWAY_MACHINES: Final = tuple(f"pump-{number}" for number in range(1, 7))
GATEWAY_PERIOD_MS: Final = 200
THINGS: Final = tuple(f"compressor-{number}" for number in range(1, 5))
THING_PERIOD_MS: Final = 1000

# What a broken sensor driver sends; each goes to dead letters with another reason.
BROKEN_PAYLOADS: Final = (
    b'{"ts": 1795413600, "temperature": ',
    b'{"ts": 1795413600, "temperature": NaN}',
    b'{"temperature": 71.2}',
    b'{"ts": 1795413600, "note": "\xff\xfe"}',
)


class Tick(NamedTuple):
    """One reading of one machine, and when (wall clock) it is to be sent."""

    send_at: float
    machine: str
    observed_at: EpochMs
    values: dict[str, float]


@dataclass(frozen=True)
class Plant:
    """A plant that starts at `started_at` (wall clock)."""

    started_at: EpochMs
    live_s: float = LIVE_S

    @property
    def live_at(self) -> EpochMs:
        """When learning is over and observed time is the time."""
        return self.started_at + LEARN_S * 1000

    @property
    def ends_at(self) -> EpochMs:
        return self.live_at + round(self.live_s * 1000)

    @property
    def first_observed_at(self) -> EpochMs:
        return self.live_at - LEARN_S * SPEED * 1000

    def faults(self) -> dict[str, FaultInjector]:
        """Machine -> what happens to it. All last to the end."""
        begin = self.live_at + FIRST_FAULT_S * 1000
        return {
            "pump-3": DriftingBearing(begin, self.ends_at),
            "compressor-2": PressureLoss(begin + 4000, self.ends_at),
            "pump-5": StuckSensor(begin + 8000, self.ends_at),
        }

    def expected(self) -> list[Expected]:
        """The alerts that are right."""
        return [
            Expected(
                machine,
                fault.kind,
                Kind.SENSOR_FAULT if isinstance(fault, StuckSensor) else Kind.PROCESS_ANOMALY,
                ((fault.started_at, self.ends_at),),
            )
            for machine, fault in self.faults().items()
        ]

    def ticks(self, machines: Sequence[str], period_ms: int) -> Iterator[Tick]:
        """Everything that these machines will say, in the order of time; each one a little after the one before."""
        told = Plant(ORIGIN, self.live_s)  # the same story, told at its own time
        faults = told.faults()
        models = [Machine(name, SEED, [faults[name]] if name in faults else []) for name in machines]
        for at in range(told.first_observed_at, told.ends_at, period_ms):
            for index, model in enumerate(models):
                own_time = at + index * period_ms // len(models)
                observed_at = own_time - ORIGIN + self.started_at
                yield Tick(self._send_at(observed_at), model.name, observed_at, model.reading(own_time))

    def _send_at(self, observed_at: EpochMs) -> float:
        if observed_at >= self.live_at:
            return observed_at / 1000
        return (self.started_at + (observed_at - self.first_observed_at) / SPEED) / 1000
