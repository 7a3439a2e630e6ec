"""What scoring costs: time of a reading with cold caches, rows a second of the command, memory, and the import.

    python -m benchmarks.detection

A plant's signals take turns and their memories do not fit into a core's cache together, so that 4,000 of them are
watched in turn and each reading is timed by itself. The median says what is usual, the 99th percentile what a busy
gateway must plan for.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.rows import Row, at_least, at_most, gather
from benchmarks.scoring import score
from plantwatch.detectors.catalogue import AUTO, CATALOGUE

_SIGNALS: Final = 4_000
# A row each: enough to leave the warm-up, few enough for a minute.
_WARM_READINGS: Final = 500
_TIMED_READINGS: Final = 20
_FILE_ROWS: Final = 1_000_000
_GROWN_UP_READINGS: Final = 20_000
_ORDINARY_ROWS: Final = 20_000
_IMPORTS: Final = 5
_IMPORT = (
    "import time; began = time.perf_counter(); "
    "from plantwatch.detectors.catalogue import CATALOGUE; CATALOGUE['auto']({signals}, None); "
    "took_s = time.perf_counter() - began; "
    # The kernel's own account: getrusage would answer with the peak of the process that started this one.
    "status = open('/proc/self/status').read(); "
    "print(took_s * 1e3, int(status.split('VmHWM:')[1].split()[0]) / 1024)"
)


def measure() -> list[Row]:
    parts: list[tuple[Callable[[], list[Row]], list[Row]]] = [
        (interleaved, _interleaved_rows(None, None)),
        (command, _command_rows(None)),
        (calibration, _calibration_rows(None, None)),
        (state, _state_rows(None)),
        (imports, _import_rows(None, None, "")),
        (fleet_tick, fleet_tick()),
    ]
    return gather(parts)


def unmeasured() -> list[Row]:
    return [
        *_interleaved_rows(None, None), *_command_rows(None), *_calibration_rows(None, None), *_state_rows(None),
        *_import_rows(None, None, ""), *fleet_tick(),
    ]  # fmt: skip


def interleaved() -> list[Row]:
    chance = random.Random(1)
    steps = [CATALOGUE[AUTO](1, None).step for _ in range(_SIGNALS)]
    for _ in range(_WARM_READINGS):
        for step in steps:
            step((chance.gauss(0.0, 1.0),))
    now, costs = time.perf_counter_ns, []
    for _ in range(_TIMED_READINGS):
        for step in steps:
            values = (chance.gauss(0.0, 1.0),)
            began = now()
            step(values)
            costs.append(now() - began)
    costs.sort()
    return _interleaved_rows(costs[len(costs) // 2] / 1e3, costs[len(costs) * 99 // 100] / 1e3)


def _interleaved_rows(median: float | None, percentile_99: float | None) -> list[Row]:
    name = "score and learn, 4,000 signals in turn"
    beside = "pure Python 17; sketch 8 and 15 to 57" if median else ""
    return [
        at_most(f"{name}, median", 2, median, "us", beside),
        at_most(f"{name}, p99", 6, percentile_99, "us", beside),
    ]


def command() -> list[Row]:
    """Rows a second of `plantwatch score` on one file with one signal, the start of Python included."""
    chance = random.Random(2)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.csv"
        with file.open("w") as lines:
            lines.write("timestamp,value\n")
            lines.writelines(f"{1_700_000_000 + row},{chance.gauss(0, 1):.4f}\n" for row in range(_FILE_ROWS))
        began = time.perf_counter()
        score([file], Path(folder) / "out")
        return _command_rows(_FILE_ROWS / (time.perf_counter() - began))


def _command_rows(rows_per_s: float | None) -> list[Row]:
    return [at_least("plantwatch score, one signal", 100_000, rows_per_s, "rows/s", f"one file of {_FILE_ROWS:,} rows")]


def calibration() -> list[Row]:
    return _calibration_rows(_crossings(1), _crossings(8))


def _crossings(signals: int) -> float:
    """Percent of ordinary, independent rows whose score exceeds 0.99."""
    chance = random.Random(3)
    detector = CATALOGUE[AUTO](signals, None)
    scores = [detector.step([chance.gauss(0.0, 1.0) for _ in range(signals)]).score for _ in range(_ORDINARY_ROWS)]
    judged = scores[_ORDINARY_ROWS // 10 :]
    return 100.0 * sum(value > 0.99 for value in judged) / len(judged)


def _calibration_rows(one: float | None, several: float | None) -> list[Row]:
    return [
        at_most("ordinary rows that score above 0.99, one signal", 2, one, "%", "calibrated: 1"),
        at_most("ordinary rows that score above 0.99, 8 signals", 2, several, "%", "calibrated: 1"),
    ]


def state() -> list[Row]:
    """Of a grown-up detector of one signal, as JSON."""
    chance = random.Random(4)
    detector: Any = CATALOGUE[AUTO](1, None)
    for _ in range(_GROWN_UP_READINGS):
        detector.step((chance.gauss(0.0, 1.0),))
    return _state_rows(len(json.dumps(detector.state())) / 1024)


def _state_rows(kilobytes: float | None) -> list[Row]:
    return [at_most("state of one signal, as JSON", 16, kilobytes, "KB", "Netdata 18")]


def imports() -> list[Row]:
    (first_ms, first_mb), (several_ms, several_mb) = _import_cost(1), _import_cost(8)
    return _import_rows(first_ms, first_mb, f"several signals, with numpy: {several_ms:.0f} ms, {several_mb:.0f} MB")


def _import_cost(signals: int) -> tuple[float, float]:
    """Milliseconds and the process's peak RSS in MB, the median of some fresh processes."""
    program = _IMPORT.format(signals=signals)
    answers = [
        [float(word) for word in subprocess.check_output([sys.executable, "-c", program], text=True).split()]
        for _ in range(_IMPORTS)
    ]
    return statistics.median(answer[0] for answer in answers), statistics.median(answer[1] for answer in answers)


def _import_rows(milliseconds: float | None, megabytes: float | None, beside: str) -> list[Row]:
    return [
        at_most("import of the scoring core, time", 150, milliseconds, "ms", beside),
        at_most("import of the scoring core, whole process", 40, megabytes, "MB", "river.anomaly 148"),
    ]


def fleet_tick() -> list[Row]:
    """No detector steps many machines at once yet."""
    return [at_least("fleet tick, 10,000 machines of 4 signals", 10, None, "M machines/s", "no such detector yet")]
