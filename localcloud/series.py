"""The demo's recorded series: a real, labelled one where such data lies beside the project, else a synthetic one."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from localcloud.region import REPOSITORY
from localcloud.simulator.machines import DriftingBearing, Machine
from plantwatch.telemetry import EpochMs, isoformat

# A pump test bench at one row a second, with a fault in the second half.
RECORDED: Final = Path("skab_dev") / "data" / "other" / "9.csv"
DEVICE: Final = "pump-7"
_SYNTHETIC_S: Final = 1500
_SYNTHETIC_AT: Final[EpochMs] = 1_600_000_000_000
_FAULT_S: Final = (1000, 1300)


@dataclass(frozen=True)
class Recorded:
    """A file, the machine that it stands for, and the times in which an alert is right."""

    file: Path
    title: str
    device: str
    windows: tuple[tuple[EpochMs, EpochMs], ...]


def data_folder() -> Path:
    """Labelled series: PLANTWATCH_DATA, or `shared/data` beside the repository. It may not be there."""
    return Path(os.environ.get("PLANTWATCH_DATA") or REPOSITORY.parent / "shared" / "data")


def find_or_make(folder: Path) -> Recorded:
    """The real series, or a synthetic one written into `folder`."""
    real = data_folder() / RECORDED
    if real.exists():
        return Recorded(real, f"a recorded pump test ({RECORDED.name} of SKAB)", DEVICE, labelled_windows(real, ";"))
    return make(folder)


def make(folder: Path) -> Recorded:
    """25 minutes of a machine whose bearing goes after 1,000 s, labelled."""
    first, last = (_SYNTHETIC_AT + second * 1000 for second in _FAULT_S)
    machine = Machine("recorded", 7, [DriftingBearing(first, last, rise_s=60)])
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "synthetic.csv"
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["time", *machine.reading(first), "anomaly"])
        for at in range(_SYNTHETIC_AT, _SYNTHETIC_AT + _SYNTHETIC_S * 1000, 1000):
            rows.writerow([isoformat(at), *machine.reading(at).values(), int(first <= at < last)])
    return Recorded(file, "a synthetic series", DEVICE, labelled_windows(file, ","))


def labelled_windows(file: Path, separator: str) -> tuple[tuple[EpochMs, EpochMs], ...]:
    """The stretches of rows whose column `anomaly` is 1, as (first, last) observed time."""
    windows: list[tuple[EpochMs, EpochMs]] = []
    inside = False
    with file.open(newline="") as text:
        for row in csv.DictReader(text, delimiter=separator):
            at, label = epoch_ms(next(iter(row.values()))), float(row["anomaly"]) > 0
            if label:
                windows = [*windows[:-1], (windows[-1][0], at)] if inside else [*windows, (at, at)]
            inside = label
    return tuple(windows)


def epoch_ms(text: str) -> EpochMs:
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
