"""Makes the example's recordings: three pumps of one type, a week each, one reading each five minutes.

    python examples/make.py

writes pump-1.csv, pump-2.csv and pump-3.csv beside this file, always the same. Each pump's load follows the shifts of a
working day and wanders; its three signals follow the load. pump-3 has a hot afternoon, in which all is well, and a
bearing that fails on its last day, which the column `anomaly` says.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

SEED = 20_260_302
BEGINS = datetime(2026, 3, 2, tzinfo=UTC)
INTERVAL = timedelta(minutes=5)
READINGS = 7 * 24 * 12
HEADER = ("time", "temperature", "vibration", "pressure", "anomaly")

# Offsets between pumps of one type: mounting, age, place in the hall.
PUMPS = {"pump-1": 0.0, "pump-2": 0.6, "pump-3": -0.4}
HOT = (datetime(2026, 3, 6, 12, tzinfo=UTC), datetime(2026, 3, 6, 17, tzinfo=UTC))
FAULT = (datetime(2026, 3, 8, 9, tzinfo=UTC), datetime(2026, 3, 8, 16, tzinfo=UTC))


def rows(pump: str) -> Iterator[tuple[str, str, str, str, int]]:
    """One pump's week."""
    chance = random.Random(f"{SEED} {pump}")
    offset, wander = PUMPS[pump], 0.0
    for number in range(READINGS):
        at = BEGINS + number * INTERVAL
        wander = 0.97 * wander + chance.gauss(0.0, 0.12)
        load = shift_load(at) + wander
        hot, worn = (part(at, *window) if pump == "pump-3" else 0.0 for window in (HOT, FAULT))
        temperature = 58.0 + offset + 4.0 * load + 20.0 * hot + 3.0 * worn + chance.gauss(0.0, 0.4)
        vibration = 2.0 + 0.05 * offset + 0.25 * load + 1.8 * worn + chance.gauss(0.0, 0.07)
        pressure = 5.0 + 0.02 * offset + 0.3 * load + chance.gauss(0.0, 0.04)
        time = at.strftime("%Y-%m-%dT%H:%MZ")
        yield time, f"{temperature:.1f}", f"{vibration:.2f}", f"{pressure:.2f}", int(worn > 0.0)


def shift_load(at: datetime) -> float:
    """0 at night, 1 by day, with an hour between."""
    hour = at.hour + at.minute / 60
    return 1 / (1 + math.exp(-4 * (hour - 6))) - 1 / (1 + math.exp(-4 * (hour - 22)))


def part(at: datetime, begins: datetime, ends: datetime) -> float:
    """From 0 to 1 within the first quarter of a window, 1 until its end, 0 outside."""
    if not begins < at <= ends:
        return 0.0
    return min(1.0, 4 * (at - begins) / (ends - begins))


if __name__ == "__main__":
    for name in PUMPS:
        with (Path(__file__).parent / f"{name}.csv").open("w", newline="") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(HEADER)
            lines.writerows(rows(name))
