"""All machines of one runtime."""

from __future__ import annotations

from itertools import chain
from typing import Final

from plantwatch import snapshot
from plantwatch.bundle.model import Bundle
from plantwatch.detectors.prior import NOTHING_KNOWN, FleetKnowledge, judgement_digest
from plantwatch.machine.device import Machine, WatchCounts
from plantwatch.maintenance import Maintenance
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import Reading
from plantwatch.watch_config import WatchConfig

# Twice the largest plant planned for one gateway or shard (5,000 machines); at about 16 KB a machine of 4 signals.
MACHINES_MAX: Final = 10_000


class Machines:
    """The machines of one runtime, found by tenant and device; the longest silent one makes room for a new one."""

    def __init__(
        self,
        config: WatchConfig | None = None,
        machines_max: int = MACHINES_MAX,
        knowledge: FleetKnowledge = NOTHING_KNOWN,
        maintenance: Maintenance | None = None,
    ) -> None:
        if machines_max < 1:
            raise ValueError(f"machines_max is {machines_max}; it must be at least 1")
        self.config = config or WatchConfig()
        self.knowledge = knowledge
        self.bundle = judgement_digest(self.config.digest, knowledge)
        self.machines_max = machines_max
        self.counts = WatchCounts()
        self._maintenance = maintenance or Maintenance()
        self._machines: dict[tuple[str, str], Machine] = {}

    @classmethod
    def of(cls, bundle: Bundle, machines_max: int = MACHINES_MAX, maintenance: Maintenance | None = None) -> Machines:
        """Machines judged by a bundle; each begins with what the bundle knows of its signals."""
        return cls(bundle.config, machines_max, bundle.knowledge, maintenance)

    def __len__(self) -> int:
        return len(self._machines)

    def watch(self, reading: Reading) -> ScoredReading:
        """One reading of one machine, in the order of its arrival."""
        machine = self._machines.get((reading.tenant, reading.device))
        if machine is None:
            machine = self._meet(reading)
        return machine.watch(reading)

    def _meet(self, reading: Reading) -> Machine:
        if len(self._machines) >= self.machines_max:
            silent = min(self._machines, key=lambda key: self._machines[key].newest)
            del self._machines[silent]
            self.counts.evicted_machines += 1
        machine = self._machines[reading.tenant, reading.device] = self._make(reading.device)
        return machine

    def _make(self, device: str) -> Machine:
        return Machine(self.config, self.counts, self.knowledge, self.bundle, self._maintenance.of(device))

    def find(self, tenant: str, device: str) -> Machine | None:
        """The machine as it is now, to look at; None where it has not been met."""
        return self._machines.get((tenant, device))

    def maintain(self, maintenance: Maintenance) -> None:
        """Another calendar from now on. What the machines have learnt stays."""
        self._maintenance = maintenance
        for (_, device), machine in self._machines.items():
            machine.schedule = maintenance.of(device)

    def snapshot(self) -> bytes:
        """The memory of all machines, for `restore` in a later life or another runtime."""
        return snapshot.pack(
            self.bundle,
            ({"device": key, **machine.state()} for key, machine in self._machines.items()),
        )

    def restore(self, *snapshots: bytes) -> None:
        """Go on from a snapshot: replaces what was known. ValueError says why it cannot, and then nothing changed.

        From several (of shards that became one) the machines of all; one that is in two, as it was last.
        """
        machines: dict[tuple[str, str], Machine] = {}
        try:
            for state in chain.from_iterable(snapshot.unpack(data, bundle=self.bundle) for data in snapshots):
                tenant, device = state["device"]
                machine = self._make(device)
                machine.restore(state)
                known = machines.get((tenant, device))
                if known is None or known.newest < machine.newest:
                    machines[tenant, device] = machine
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a machine's state is not as expected: {error!r}") from None
        if len(machines) > self.machines_max:
            raise ValueError(f"the snapshot holds {len(machines)} machines, the limit is {self.machines_max}")
        self._machines = machines
