"""Telemetry that we make ourselves: six kinds of ordinary signal, eight kinds of fault, each fault once in each that
can have it. No one has tuned on recorded files of it, and every fault is known to the reading.

    python -m benchmarks.synthetic

A fault is found if an alarm holds at one of its readings. Alarms that begin elsewhere are false, except within a minute
of readings after a fault: the return is news too. A detector that raises alarms at random, as many and as long as our
false ones, finds what `chance` says.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from benchmarks.rows import Row, at_least, at_most, publish
from plantwatch.detectors.catalogue import AUTO, CATALOGUE

_FAULT_AT: Final = 3_000
_FAULT_READINGS: Final = 300
_READINGS: Final = 4_000
_RETURN_READINGS: Final = 60
_PERIOD: Final = 50
_SEEDS: Final = range(3)

RECALL_GOAL: Final = 0.92
FALSE_ALARMS_GOAL: Final = 0.2


class Telemetry(NamedTuple):
    fault: str
    values: list[float]
    fault_end: int


def noise(_phase: float, chance: random.Random) -> float:
    return chance.gauss(0.0, 0.3)


def cycle(phase: float, chance: random.Random) -> float:
    return math.sin(2 * math.pi * phase) + chance.gauss(0.0, 0.05)


def sawtooth(phase: float, chance: random.Random) -> float:
    return 2.0 * (phase % 1.0) - 1.0 + chance.gauss(0.0, 0.05)


def pulses(phase: float, chance: random.Random) -> float:
    """On for a third of each period."""
    return (1.0 if phase % 1.0 < 1 / 3 else -0.5) + chance.gauss(0.0, 0.05)


def wander(phase: float, chance: random.Random) -> float:
    """A load of several slow rhythms, none of which repeats within the series."""
    return 0.5 * math.sin(phase * 0.71) + 0.5 * math.sin(phase * 0.37 + 1.0) + chance.gauss(0.0, 0.05)


def operating_points(phase: float, chance: random.Random) -> float:
    """One of three levels, each held for some periods."""
    return (-0.8, 0.1, 0.9)[int(phase / 2.5) * 7 % 3] + chance.gauss(0.0, 0.05)


ORDINARY: Final[tuple[Callable[[float, random.Random], float], ...]] = (
    noise, cycle, sawtooth, pulses, wander, operating_points,
)  # fmt: skip
PERIODIC: Final = (cycle, sawtooth, pulses)
FAULTS: Final = ("spike", "shift", "variance", "stuck", "frequency", "range", "missing peak", "drift")
_ONLY_IN_PERIODIC: Final = frozenset({"frequency", "missing peak"})


def telemetry() -> Iterator[Telemetry]:
    for seed in _SEEDS:
        for ordinary in ORDINARY:
            for fault in FAULTS:
                if ordinary in PERIODIC or fault not in _ONLY_IN_PERIODIC:
                    yield _series(ordinary, fault, random.Random(f"{seed} {ordinary.__name__} {fault}"))


def _series(ordinary: Callable[[float, random.Random], float], fault: str, chance: random.Random) -> Telemetry:
    length = {"spike": 1, "missing peak": _PERIOD}.get(fault, _FAULT_READINGS)
    # At the top of a period, so that the missing peak is one.
    start = _FAULT_AT + chance.randrange(4) * _PERIOD
    phase = 0.0
    values: list[float] = []
    for turn in range(_READINGS):
        since = turn - start
        is_faulty = 0 <= since < length
        phase += (2.0 if is_faulty and fault == "frequency" else 1.0) / _PERIOD
        value = ordinary(phase, chance)
        values.append(_faulty(fault, value, since / length, values, chance) if is_faulty else value)
    return Telemetry(fault, values, start + length)


def _faulty(fault: str, value: float, share: float, before: list[float], chance: random.Random) -> float:
    """The reading under the fault, `share` of whose time has passed."""
    return {
        "spike": value + 3.0,
        "shift": value + 0.7,
        "variance": value + chance.gauss(0.0, 0.5),
        "stuck": before[-1],
        "frequency": value,
        "range": 1.8 * value,
        "missing peak": min(value, -0.4),
        "drift": value + 2.0 * share,
    }[fault]


def measure() -> list[Row]:
    found: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    false_alarms = readings = fault_readings = calm_readings = calm_in_alarm = 0
    for series in telemetry():
        length = {"spike": 1, "missing peak": _PERIOD}.get(series.fault, _FAULT_READINGS)
        begin, end = series.fault_end - length, series.fault_end
        detector = CATALOGUE[AUTO](1, None)
        alarms = [detector.step((value,)).alarm for value in series.values]
        found[series.fault] += any(alarms[begin:end])
        faults[series.fault] += 1
        for turn in range(1, len(alarms)):
            is_elsewhere = not begin <= turn < end + _RETURN_READINGS
            false_alarms += alarms[turn] and not alarms[turn - 1] and is_elsewhere
        calm_readings += begin
        calm_in_alarm += sum(alarms[:begin])
        readings += len(alarms)
        fault_readings += length
    rate = false_alarms / readings
    chance = 1.0 - (1.0 - calm_in_alarm / calm_readings) * math.exp(-rate * fault_readings / faults.total())
    missed = ", ".join(f"{fault} {found[fault] / faults[fault]:.2f}" for fault in FAULTS)
    return _rows(found.total() / faults.total(), 1000.0 * rate, f"chance {chance:.2f}; {missed}")


def unmeasured() -> list[Row]:
    return _rows(None, None, "")


def _rows(recall: float | None, false_alarms: float | None, beside: str) -> list[Row]:
    return [
        at_least("synthetic telemetry: recall", RECALL_GOAL, recall, "", beside),
        at_most("synthetic telemetry: false alarms per 1,000", FALSE_ALARMS_GOAL, false_alarms, "", "sketch 0.35"),
    ]


if __name__ == "__main__":
    publish("synthetic", measure())
