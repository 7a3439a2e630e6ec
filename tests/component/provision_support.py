"""Two emulated regions for a tenant, as the control machine sees them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.ensure.clients import Clients, Target
from deploy.ensure.core import Action
from deploy.provision import provision
from deploy.report import Report
from deploy.topology import RegionRole, Tenant, names
from localcloud.processes import ProcessSpec, ProcessTable
from localcloud.region import REPOSITORY, fetch_ca, profiles_environment, write_aws_config
from tests.region_support import Device, RunningRegion

ACME = Tenant("acme", "000000000000", "us-east-1", "us-west-2", gateways=("gw-1",), things=("fan-1",))
HERE = names(ACME, "us-east-1")
THERE = names(ACME, "us-west-2")
NOT_AUTHORISED = 135


@dataclass(frozen=True)
class Cloud:
    """Two regions, empty at first, and what AWS does between them."""

    primary: RunningRegion
    dr: RunningRegion
    folder: Path
    clients: dict[RegionRole, Clients]

    @property
    def targets(self) -> tuple[Target, ...]:
        return tuple(each.target for each in self.clients.values())

    def provision(self, tenant: Tenant = ACME, **options: Any) -> Report:
        return provision(tenant, self.targets, credentials_dir=self.folder, **options)

    def running(self, role: RegionRole) -> RunningRegion:
        return self.primary if role is RegionRole.PRIMARY else self.dr

    def device(self, name: str, role: RegionRole) -> Device:
        """As the device sees it: its files, and the CA of the region that it speaks to."""
        running = self.running(role)
        ca = self.folder / f"{role}-ca.pem"
        ca.write_bytes(fetch_ca(running.region))
        return Device(name, self.folder / name / "certificate.pem", self.folder / name / "private.key", ca, "", "")

    def certificate(self, name: str) -> str:
        iot = self.clients[RegionRole.PRIMARY]("iot")
        (arn,) = iot.list_thing_principals(thingName=name)["principals"]
        return str(arn).rpartition("/")[2]


@contextmanager
def running_cloud(root: Path) -> Iterator[Cloud]:
    table = ProcessTable(root)
    primary = RunningRegion(table, root / "state")
    dr = RunningRegion(table, root / "state", role="dr", name="us-west-2")
    config = root / "aws.ini"
    write_aws_config(config, (primary.region, dr.region))
    command = (sys.executable, "-m", "localcloud.replicator", "--status", str(root / "replicator.json"))
    with pytest.MonkeyPatch.context() as patch:
        # A profile's endpoint counts only where the environment names none.
        patch.delenv("AWS_ENDPOINT_URL")
        for name, value in profiles_environment(config).items():
            patch.setenv(name, value)
        try:
            primary.start()
            dr.start()
            table.start(ProcessSpec("replicator", command, profiles_environment(config), REPOSITORY))
            targets = (
                Target(RegionRole.PRIMARY, "us-east-1", "primary"),
                Target(RegionRole.DR, "us-west-2", "dr"),
            )
            clients = {target.role: Clients(target) for target in targets}
            yield Cloud(primary, dr, root / "credentials", clients)
        finally:
            # Nobody needs their state: no reason to wait until they have written it down.
            for name in table.names():
                table.kill(name)


def changes(report: Report) -> list[tuple[str, str, str, Action, tuple[str, ...]]]:
    """What is announced: everything but values that only a service can make up."""
    return [
        (each.region, each.kind, each.name, each.action, tuple(change.field for change in each.changes))
        for each in report.outcomes
    ]


@dataclass
class Cpu:
    """Seconds of this process' own work: what it does per call, whatever else the machine is busy with."""

    used: float = 0.0


@contextmanager
def cpu_seconds() -> Iterator[Cpu]:
    cpu, begin = Cpu(), time.process_time()
    yield cpu
    cpu.used = time.process_time() - begin
