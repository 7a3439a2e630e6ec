"""Every setting of the edge component. The recipe's DefaultConfiguration has the same keys and values (tested)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge_component.connectors.settings import CONNECTORS_MAX, AnyConnector
from plantwatch import settings
from plantwatch.bundle import runtime as bundles
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import InvalidReading, checked_name

TELEMETRY_FILTER: Final = "plantwatch/telemetry/+"
"""Local topics with readings; the last level is the device."""
ACKS_TOPIC: Final = "plantwatch/acks"
STATUS_TOPIC: Final = "plantwatch/status"
# Nucleus lite ends the whole connection of a component that publishes more than about 7,300 B at once.
IOT_CORE_BYTES_MAX: Final = 7_200
_ACCESS_CONTROL: Final = "accessControl"


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """The component's configuration, as the nucleus keeps it. Durations end in `_s`, sizes in `_bytes`.

    `gateway` is the IoT thing of this core; the nucleus knows it. The DR leg is a connection of its own, with the
    certificate and key of this core, which are registered in the DR region too.
    """

    tenant: str = ""
    gateway: str = ""
    # Relative to the component's work directory, which the nucleus keeps across versions.
    state_dir: Path = Path("state")
    # The model bundle's file; empty: the default configuration, and each machine learns from its own readings alone.
    bundle_path: str = ""
    # Maintenance windows (`plantwatch calendar` writes them); empty: none is known.
    maintenance_path: str = ""

    # How long a reading may wait for company. IoT Core meters in steps of 5 kB: at 50 readings/s a second fills one.
    linger_s: float = 1.0
    batch_bytes_max: int = 5_000
    # Readings per commit (fsync): the fewest when there is time, the most under load, where they cost less together.
    commit_readings_min: int = 1_000
    commit_readings_max: int = 5_000
    # 20,000 readings. Beyond, a message is refused, and its source sends it again.
    inbox_bytes_max: int = 4_000_000
    # A day without uplink at 100 readings/s of about 50 B each, compressed.
    spool_bytes_max: int = 500_000_000
    # A week, counted while the component runs; older readings are dropped, and declared to the regions.
    spool_age_s_max: float = 604_800.0
    rejected_rows_max: int = 10_000
    checkpoint_interval_s: float = 30.0
    status_interval_s: float = 2.0
    ack_interval_s: float = 0.1

    # Nucleus lite fails above 15 kB or 10 messages unacknowledged, and other components need some of it.
    primary_in_flight_bytes_max: int = 11_000
    # A round trip of 100 ms between continents then carries 800 kB/s.
    dr_in_flight_bytes_max: int = 80_000
    publish_timeout_s: float = 20.0
    backoff_s_min: float = 0.5
    backoff_s_max: float = 30.0

    dr_enabled: bool = False
    dr_host: str = ""
    dr_port: int = 8883
    # Empty: the thing's name. Another one where both regions could meet at one endpoint.
    dr_client_id: str = ""
    dr_certificate_path: str = ""
    dr_key_path: str = ""
    dr_ca_path: str = ""

    # What is read beside the local topics: see edge_component/connectors/settings.py.
    connectors: tuple[AnyConnector, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            *self._name_problems(),
            *self._number_problems(),
            *self._dr_problems(),
            *self._connector_problems(),
            *bundles.problems(self.bundle_path, self.maintenance_path),
        ]
        if problems:
            raise InvalidSettings(problems)

    def _name_problems(self) -> list[str]:
        problems = []
        for key in ("tenant", "gateway"):
            try:
                checked_name(getattr(self, key))
            except InvalidReading as error:
                problems.append(f"{key}: {error}")
        return problems

    def _number_problems(self) -> list[str]:
        positive = [key for key in self.__dataclass_fields__ if key.endswith(("_s", "_max", "_min", "_port"))]
        problems = [f"{key}: must be above 0" for key in positive if getattr(self, key) <= 0]
        if self.batch_bytes_max > self.primary_in_flight_bytes_max:
            problems.append("batch_bytes_max: above primary_in_flight_bytes_max")
        if self.batch_bytes_max > IOT_CORE_BYTES_MAX:
            problems.append(f"batch_bytes_max: above {IOT_CORE_BYTES_MAX}, which is what the nucleus takes")
        return problems

    def _connector_problems(self) -> list[str]:
        names = [connector.name for connector in self.connectors]
        twice = sorted({name for name in names if names.count(name) > 1})
        problems = [f"connectors: two are named {name}" for name in twice]
        if len(names) > CONNECTORS_MAX:
            problems.append(f"connectors: {len(names)}, at most {CONNECTORS_MAX} are allowed")
        return problems

    def _dr_problems(self) -> list[str]:
        if not self.dr_enabled:
            return []
        needed = ("dr_host", "dr_certificate_path", "dr_key_path", "dr_ca_path")
        problems = [f"{key}: needed, as dr_enabled is true" for key in needed if not getattr(self, key)]
        files = [(key, getattr(self, key)) for key in needed if key.endswith("_path") and getattr(self, key)]
        return problems + [f"{key}: cannot read {path}" for key, path in files if not os.access(path, os.R_OK)]


def load(configuration: Mapping[str, Any], *, thing: str) -> EdgeSettings:
    """The nucleus's configuration as settings; `thing` is the gateway unless it says otherwise. InvalidSettings."""
    values = {key: value for key, value in configuration.items() if key != _ACCESS_CONTROL}
    values["gateway"] = values.get("gateway") or thing
    return settings.load(EdgeSettings, values)
