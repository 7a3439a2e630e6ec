"""A small fleet, as recordings and as what can be learnt from them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path

from plantwatch.bundle.model import Bundle, Calibration, Training
from plantwatch.detectors.fleet import memory_of, merged
from plantwatch.detectors.novelty import NoveltyParameters
from plantwatch.detectors.prior import Prior
from plantwatch.detectors.relation import Relation
from plantwatch.telemetry import EpochMs

START: EpochMs = 1_700_000_000_000
NOW: EpochMs = START + 86_400_000
PARAMETERS = NoveltyParameters()
RELATION = Relation(("pressure", "temperature"), (5.0, 62.0), ("pressure",), ((4.0, -0.4), (-0.4, 1.0)))


def running(seed: int, readings: int, level: float = 20.0) -> Iterator[float]:
    """One signal of a machine that is well: a load that wanders within a minute, and noise."""
    chance = random.Random(seed)
    load = chance.gauss(0.0, 1.0)
    for _ in range(readings):
        load = 0.99 * load + math.sqrt(1 - 0.99**2) * chance.gauss(0.0, 1.0)
        yield round(level + load + 0.5 * chance.gauss(0.0, 1.0), 3)


def prior(level: float = 20.0, machines: int = 4) -> Prior:
    """Of machines that all run at this level."""
    known = merged(memory_of(running(seed, 6000, level), PARAMETERS) for seed in range(machines))
    assert known is not None
    return known


def a_bundle() -> Bundle:
    return Bundle(
        name="pumps-2026",
        machine_type="pump",
        priors={"temperature": prior(62.0), "pressure": prior(5.0)},
        training=Training("ab" * 32, 24_000, 4, START, NOW, ("pump-1.csv", "pümpe-2.csv")),
        calibration=Calibration(24_000, 0.25, 1, ((0.5, 0.0), (1.0, 0.99))),
        expected_alerts_per_day=4.0,
        created_at=NOW,
        relation=RELATION,
        deviations={"pressure": prior(0.0)},
    )


def record(path: Path, seed: int, rows: int = 3000, level: float = 20.0) -> Path:
    """A CSV file of one machine with two signals."""
    temperature, pressure = running(seed, rows, level), running(seed + 1000, rows, level / 4)
    lines = [
        f"{START + 1000 * turn},{one},{other}"
        for turn, (one, other) in enumerate(zip(temperature, pressure, strict=True))
    ]
    path.write_text("\n".join(["time,temperature,pressure", *lines, ""]))
    return path
