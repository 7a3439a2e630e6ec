"""The demo's fleet: what five older machines of the same type recorded in two hours, and the bundle learnt from it.

A new machine of the type begins with that knowledge instead of none: fewer false alerts while it is young, and a drift
is told sooner (docs/decisions/0010-detector.md). The machines of the demo itself are not among the recordings.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from localcloud.plant import ORIGIN, SEED
from localcloud.simulator.machines import SIGNALS, Machine
from plantwatch.bundle.container import save
from plantwatch.bundle.learn import learn
from plantwatch.watch_config import WatchConfig

MACHINE_TYPE: Final = "rotating-machine"
BUNDLE_FILE: Final = "rotating-machine.bundle"
MACHINES: Final = tuple(f"fleet-{number}" for number in range(1, 6))
RECORDED_S: Final = 2 * 3600
# Last week, so that no reading of the demo's own story is among them.
_RECORDED_FROM: Final = ORIGIN - 7 * 24 * 3_600_000


def learn_fleet(folder: Path) -> Path:
    """Record the fleet in `folder` and learn its bundle; the bundle's path. The same bundle every time."""
    recordings = folder / "fleet"
    recordings.mkdir(parents=True, exist_ok=True)
    files = [record(name, recordings / f"{name}.csv") for name in MACHINES]
    path = folder / BUNDLE_FILE
    bundle = learn(
        files, name=path.stem, machine_type=MACHINE_TYPE, config=WatchConfig(), now=_RECORDED_FROM + RECORDED_S * 1000
    )
    save(bundle, path)
    return path


def record(name: str, file: Path) -> Path:
    """A reading each second of a machine that is well."""
    machine = Machine(name, SEED)
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["ts", *SIGNALS])
        for second in range(RECORDED_S):
            at = _RECORDED_FROM + second * 1000
            rows.writerow([at, *machine.reading(at).values()])
    return file
