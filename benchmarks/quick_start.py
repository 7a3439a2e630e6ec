"""How soon is a new machine watched, with its fleet's prior and without?

    python -m benchmarks.quick_start [SEEDS]     prints a table, writes build/bench/quick_start.json

A fleet of five simulated machines is recorded for four hours; a bundle is learnt from it. Then a sixth machine begins,
again and again with another seed: with a fault that begins after some minutes (is it found within two minutes?), and
without any (how many alerts in its first two hours?). Machines of one type are not equal: each sensor of each machine
is off by a normal number times `spread` standard deviations of its ordinary running.
"""

from __future__ import annotations

import csv
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from localcloud.simulator.wandering import DAY_S, SENSORS, Values, lose_pressure, rise, running
from plantwatch.bundle.learn import learn
from plantwatch.bundle.model import Bundle
from plantwatch.incident import Kind, Phase
from plantwatch.machine import Machines
from plantwatch.telemetry import EpochMs, Reading
from plantwatch.watch_config import WatchConfig

START: Final[EpochMs] = 1_700_000_000_000
PER_SECOND: Final = 2
FLEET: Final = 5
RECORDED_S: Final = 4 * 3600
FOUND_WITHIN_S: Final = 120
# When the fault begins, in seconds after the machine's first reading.
BEGINS_S: Final = (20, 30, 60, 120, 180, 300, 600, 1800)
SPREADS: Final = (0.0, 0.5, 1.0, 3.0)
OUTPUT: Final = Path("build/bench/quick_start.json")
WELL_S: Final = 2 * 3600


def machine(seed: int, spread: float, seconds: float) -> Iterator[tuple[float, Values]]:
    """Seconds since its first reading, and what its sensors say."""
    chance = random.Random(seed)
    off = {name: spread * sensor.sigma * chance.gauss(0.0, 1.0) for name, sensor in SENSORS.items()}
    return running(chance, PER_SECOND, seconds, off)


Fault = Callable[[Values, float], None]
FAULTS: Final[Mapping[str, Fault]] = {"bearing": rise, "pressure_loss": lose_pressure}


def learn_fleet(spread: float, folder: Path) -> Bundle:
    """What five machines tell about the sixth."""
    files = []
    for number in range(FLEET):
        path = folder / f"pump-{number}.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["time", *SENSORS])
            for at, values in machine(1000 + number, spread, RECORDED_S):
                rows.writerow([START + round(at * 1000), *values.values()])
        files.append(path)
    return learn(files, name="pumps", machine_type="pump", config=WatchConfig(), now=START + DAY_S * 1000)


def opened(machines: Machines, at: float, values: Values) -> int:
    """How many incidents this reading opens."""
    now = START + round(at * 1000)
    scored = machines.watch(Reading("acme", "pump-6", now, now, values))
    return sum(
        transition.kind is Kind.PROCESS_ANOMALY and transition.phase is Phase.OPENED
        for transition in scored.transitions
    )


def delay_s(machines: Machines, life: Iterator[tuple[float, Values]], begins_s: float, fault: Fault) -> float:
    """Seconds from the fault's beginning to the incident's; infinite where it is not found within FOUND_WITHIN_S."""
    for at, values in life:
        if at >= begins_s:
            fault(values, at - begins_s)
        if opened(machines, at, values) and at >= begins_s:
            return at - begins_s
    return math.inf


def measured(make: Callable[[], Machines], spread: float, seeds: Sequence[int]) -> dict[str, Any]:
    """Of how many faults that begin so soon how many are found, how fast; and the alerts of machines that are well."""
    found: dict[str, Any] = {}
    for begins_s in BEGINS_S:
        lasts_s = begins_s + FOUND_WITHIN_S
        delays = {
            name: [delay_s(make(), machine(seed, spread, lasts_s), begins_s, fault) for seed in seeds]
            for name, fault in FAULTS.items()
        }
        found[str(begins_s)] = {
            name: {"found": sum(map(math.isfinite, of)), "of": len(of), "median_s": _median_s(of)}
            for name, of in delays.items()
        }
    false_alerts = 0
    for seed in seeds:
        machines = make()
        false_alerts += sum(opened(machines, at, values) for at, values in machine(seed, spread, WELL_S))
    return {"faults": found, "false_alerts": false_alerts, "machine_hours": len(seeds) * WELL_S / 3600}


def _median_s(delays: Sequence[float]) -> float | None:
    found = sorted(filter(math.isfinite, delays))
    return found[len(found) // 2] if found else None


def show(way: str, result: dict[str, Any]) -> None:
    for begins_s, faults in result["faults"].items():
        parts = [f"{name} {one['found']} of {one['of']} (median {one['median_s']} s)" for name, one in faults.items()]
        print(f"  {way:<8} fault after {int(begins_s) / 60:4.1f} min: {', '.join(parts)}")
    print(f"  {way:<8} {result['false_alerts']} false alerts in {result['machine_hours']:g} machine-hours", flush=True)


def main() -> None:
    seeds = range(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
    report: dict[str, Any] = {}
    for spread in SPREADS:
        with tempfile.TemporaryDirectory() as folder:
            bundle = learn_fleet(spread, Path(folder))
        print(f"machines differ by {spread:g} deviations; priors for {', '.join(bundle.priors) or 'nothing'}")
        report[f"{spread:g}"] = {"priors": sorted(bundle.priors)}
        for way, make in (("prior", lambda known=bundle: Machines.of(known)), ("without", Machines)):
            result = measured(make, spread, seeds)
            show(way, result)
            report[f"{spread:g}"][way] = result
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
