"""The edge component's hot path without its network: local messages in, rows in SQLite, with warm machines.

    python -m benchmarks.edge_rig DEVICES

prints the resident memory (MB) of a process that has nothing but this loaded.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from edge_component.bootstrap import DR, PRIMARY
from edge_component.intake import Intake
from edge_component.numbering import Numbering
from edge_component.sources.local_topics import LocalMessage
from edge_component.spool import Spool
from plantwatch import snapshot
from plantwatch.machine import Machines
from plantwatch.pipeline import Pipeline
from plantwatch.telemetry import EpochMs

TENANT: Final = "acme"

_START: Final[EpochMs] = 1_700_000_000_000
_PERIOD_MS: Final = 200
# Full memories: the detector keeps at most so many values.
_WARM_READINGS: Final = 2_000
_WARM_DEVICES: Final = 10
BATCH: Final = 5_000
_SIGNALS: Final = (("temperature", 60.0, 1.0), ("vibration", 2.0, 0.1), ("pressure", 5.0, 0.05), ("current", 12.0, 0.5))


class Edge:
    """What the component's worker drives, with warm machines and a spool in `folder`."""

    def __init__(self, devices: int, folder: Path) -> None:
        self.machines = Machines()
        self._generator = random.Random(1)
        self._at = _START
        self._sequence = 0
        self.devices = [f"machine-{index:04d}" for index in range(devices)]
        self.spool = Spool(
            folder / f"spool-{devices}.db",
            legs=[PRIMARY, DR],
            bytes_max=500_000_000,
            rejected_rows_max=100,
            contents=lambda _: [],
        )
        self.intake = Intake(
            Pipeline(self.machines, tenant=TENANT),
            Numbering(last_taken=self.spool.last_taken, last_numbered=self.spool.last_numbered),
            gateway="gateway-1",
            epoch=self.spool.epoch,
            batch_bytes_max=5_000,
        )
        self._warm_up()

    def round(self) -> Iterator[LocalMessage]:
        """One reading of every device, each a message of its own."""
        self._sequence += 1
        self._at += _PERIOD_MS
        for device in self.devices:
            yield LocalMessage(f"plantwatch/telemetry/{device}", self._payload(), self._at)

    def messages(self, readings: int) -> list[LocalMessage]:
        return [message for _ in range(readings // len(self.devices)) for message in self.round()]

    def process(self, messages: list[LocalMessage]) -> None:
        """What the worker does with a drained inbox, up to the acknowledgements."""
        self.intake.accept(messages)
        addition = self.intake.seal()
        self.spool.append(addition)
        self.intake.sealed_is_safe(addition)
        self.intake.acknowledgements()

    def _payload(self) -> bytes:
        values = {name: round(self._generator.gauss(mean, sigma), 4) for name, mean, sigma in _SIGNALS}
        return json.dumps({"ts": self._at, **values, "source": "driver", "seq": self._sequence}).encode()

    def _warm_up(self) -> None:
        """A few machines learn, the others start from what those know: learning a thousand would take minutes."""
        everyone, self.devices = self.devices, self.devices[:_WARM_DEVICES]
        self.process(self.messages(_WARM_READINGS * len(self.devices)))
        states = list(snapshot.unpack(self.machines.snapshot(), bundle=self.machines.bundle))
        self.devices = everyone
        copies = [{**states[index % len(states)], "device": (TENANT, name)} for index, name in enumerate(everyone)]
        self.machines.restore(snapshot.pack(self.machines.bundle, copies))
        # The copies number from 1 too, under a source of their own in the intake's eyes.
        self._sequence = _WARM_READINGS
        self.intake = Intake(
            Pipeline(self.machines, tenant=TENANT),
            Numbering(last_taken=lambda _: _WARM_READINGS, last_numbered=self.spool.last_numbered),
            gateway="gateway-1",
            epoch=self.spool.epoch,
            batch_bytes_max=5_000,
        )


def _own_rss_mb() -> float:
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _print_rss(devices: int) -> None:
    with TemporaryDirectory(prefix="pw-bench-") as folder:
        edge = Edge(devices, Path(folder))
        edge.process(edge.messages(BATCH))
        print(_own_rss_mb())


if __name__ == "__main__":
    _print_rss(int(sys.argv[1]))
