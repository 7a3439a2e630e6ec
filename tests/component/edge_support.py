"""What the edge tests need of the world: emulated regions that keep what gateways publish, and a running nucleus."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from edge_component.mqtt import MqttEndpoint
from edge_component.nucleus import NucleusAddress
from edge_component.spool_file import Range, dropped_ledger, numbered_ledger
from localcloud.nucleus import settings
from localcloud.nucleus.settings import (
    COMPONENT,
    RECIPE,
    Deployment,
    NucleusSettings,
    Visitor,
    edge_configuration,
)
from localcloud.processes import ProcessSpec, ProcessTable, wait_until
from localcloud.region import ACCOUNT, HOST, REPOSITORY, fetch_ca
from localcloud.simulator.local_source import ACCESS_CONTROL
from plantwatch import envelope
from plantwatch.envelope import Batch
from plantwatch.record import RULE_SQL, Record, decode_record
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import parse_topic
from tests.region_support import TENANT, RunningRegion

GATEWAY: Final = "gateway-1"
SOURCE_TOKEN: Final = "token-of-the-simulator"
STREAM: Final = "anomaly-stream-acme"


@dataclass
class Certificate:
    """A device certificate, registered in every region of the test under the same key."""

    certificate: Path
    key: Path
    pem: str = field(repr=False, default="")


class EdgeRegion(RunningRegion):
    """One emulated region with a stream behind the telemetry rule, so that an acknowledged message can be read."""

    def provision(self) -> None:
        """Stream, role and rule, as the deployment makes them."""
        self.client("kinesis").create_stream(StreamName=STREAM, ShardCount=1)
        sql = RULE_SQL + f" FROM 'tenants/{TENANT}/devices/+/telemetry'"
        kinesis = {"streamName": STREAM, "partitionKey": "${topic(4)}", "roleArn": self.role()}
        self.rule("telemetry_to_kinesis", sql, {"kinesis": kinesis})

    def register(self, thing: str, certificate: Certificate) -> None:
        """Let `thing` connect and publish its own telemetry with this certificate (made here if it is new)."""
        iot = self.client("iot")
        if certificate.pem:
            made = iot.register_certificate_without_ca(certificatePem=certificate.pem, status="ACTIVE")
        else:
            made = iot.create_keys_and_certificate(setAsActive=True)
            certificate.pem = made["certificatePem"]
            certificate.certificate.write_text(certificate.pem)
            certificate.key.write_text(made["keyPair"]["PrivateKey"])
        iot.create_thing(thingName=thing)
        iot.create_policy(policyName=f"device-{thing}", policyDocument=self._policy())
        iot.attach_policy(policyName=f"device-{thing}", target=made["certificateArn"])
        iot.attach_thing_principal(thingName=thing, principal=made["certificateArn"])

    def endpoint(self, thing: str, certificate: Certificate) -> MqttEndpoint:
        ca = self.root / f"ca-{self.region.role}.pem"
        ca.write_bytes(fetch_ca(self.region))
        return MqttEndpoint(
            HOST, self.region.mqtt_port, thing, str(certificate.certificate), str(certificate.key), str(ca)
        )

    def telemetry(self) -> list[Record]:
        """Everything in the stream."""
        return [decode_record(item["Data"]) for item in self.records(STREAM)]

    def batches(self) -> list[Batch]:
        """Every batch that gateways published here, repeats included."""
        return [
            envelope.decode(record.payload, parse_topic(record.topic), received_at=record.received_at)
            for record in self.telemetry()
            if envelope.is_batch(record.payload)
        ]

    def scored(self) -> list[ScoredReading]:
        """Every reading in them."""
        return [item for batch in self.batches() for item in batch.scored]

    def refused(self) -> set[tuple[str, str, bytes]]:
        """(topic, reason, payload) of every refused reading in them: the gateway's, as no region refuses any here."""
        return {(item.topic, str(item.reason), item.payload) for batch in self.batches() for item in batch.rejected}

    def keys(self) -> dict[tuple[str, str], float]:
        """(device, idempotency key) -> the value of signal `n`: what the cloud stores once."""
        return {(item.reading.device, item.reading.key): item.reading.signals.get("n", 0.0) for item in self.scored()}

    def _policy(self) -> str:
        own = "${iot:Connection.Thing.ThingName}"
        arn = f"arn:aws:iot:{self.region.name}:{ACCOUNT}"
        topic = f"{arn}:topic/tenants/{TENANT}/devices/{own}/telemetry"
        return _policy_document(
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": f"{arn}:client/{own}"},
            {"Effect": "Allow", "Action": "iot:Publish", "Resource": topic},
        )


class World:
    """Emulated regions in which the gateway's certificate is registered."""

    def __init__(self, root: Path, table: ProcessTable, *, with_dr: bool) -> None:
        self.table = table
        self.primary = EdgeRegion(table, root)
        self.dr = EdgeRegion(table, root, role="dr", name="us-west-2")
        self.regions = (self.primary, self.dr) if with_dr else (self.primary,)
        self._root = root
        for region in self.regions:
            region.start()
            region.provision()
        self.endpoints = self.register(GATEWAY)

    def register(self, thing: str) -> dict[str, MqttEndpoint]:
        """A thing with one certificate in every region: role -> how it connects there."""
        certificate = Certificate(self._root / f"{thing}.crt", self._root / f"{thing}.key")
        for region in self.regions:
            region.register(thing, certificate)
        return {region.region.role: region.endpoint(thing, certificate) for region in self.regions}


@contextmanager
def running_world(*, with_dr: bool) -> Iterator[World]:
    with short_folder() as root:
        table = ProcessTable(root, die_with_parent=True)
        try:
            yield World(root, table, with_dr=with_dr)
        finally:
            table.stop_all()


class RunningNucleus:
    """The stand-in with the edge component, as processes of their own."""

    def __init__(self, config: NucleusSettings, table: ProcessTable) -> None:
        self.root = root = config.root
        self.address = NucleusAddress(str(config.socket), SOURCE_TOKEN)
        self._table = table
        self._has_component = bool(config.components)
        self._path = path = root / "nucleus.json"
        settings.write(path, config)
        self._spec = ProcessSpec(
            f"nucleus-{root.name}", (sys.executable, "-m", "localcloud.nucleus", "--config", str(path)), cwd=REPOSITORY
        )

    @property
    def spool(self) -> Path:
        return self.root / "work" / COMPONENT / "state" / "spool.db"

    def start(self) -> None:
        """Returns when it listens, and has launched its component if it has one."""
        self._table.start(self._spec)
        eventually(Path(self.address.socket).exists, "the nucleus listens")
        if self._has_component:
            eventually(lambda: self.component_pid() > 0, "the component is launched")

    def deploy(self, config: NucleusSettings) -> None:
        """Change the component's configuration while it runs."""
        settings.write(self._path, config)
        os.kill(self._table.pid(self._spec.name), signal.SIGHUP)

    def kill_alone(self) -> None:
        """SIGKILL to the nucleus only: its component is left behind."""
        os.kill(self._table.pid(self._spec.name), signal.SIGKILL)
        eventually(lambda: not self._table.alive(self._spec.name), "the nucleus is dead")
        Path(self.address.socket).unlink()
        (self.root / "pids.json").unlink()

    def stop(self) -> None:
        self._table.stop(self._spec.name)

    def component_pid(self) -> int:
        path = self.root / "pids.json"
        return int(json.loads(path.read_text()).get(COMPONENT, 0)) if path.exists() else 0

    def log(self) -> str:
        return (self._table.log_dir / f"{self._spec.name}.log").read_text()

    def numbered(self) -> list[Range]:
        return numbered_ledger(self.spool)

    def dropped(self, leg: str) -> list[Range]:
        return dropped_ledger(self.spool, leg)


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name (107 characters in all)."""
    with TemporaryDirectory(prefix="pw-", dir="/tmp") as folder:
        yield Path(folder)


def edge_nucleus(root: Path, endpoints: Mapping[str, MqttEndpoint], **changes: Any) -> NucleusSettings:
    """A nucleus with one edge component that hurries."""
    hurried: dict[str, Any] = {"linger_s": 0.1, "backoff_s_min": 0.1, "backoff_s_max": 1.0, "tenant": TENANT, **changes}
    configuration = edge_configuration(dr=endpoints.get("dr"), **hurried)
    return replace(bare_nucleus(root, endpoints["primary"]), components=(Deployment(RECIPE, configuration),))


def bare_nucleus(root: Path, uplink: MqttEndpoint, *visitors: Visitor) -> NucleusSettings:
    """A nucleus without components."""
    simulator = Visitor("simulator", SOURCE_TOKEN, ACCESS_CONTROL)
    return NucleusSettings(GATEWAY, "us-east-1", root, root / "ipc.sock", uplink, (), (simulator, *visitors))


def eventually(condition: Callable[[], bool], what: str, timeout_s: float = 20.0) -> None:
    wait_until(condition, timeout_s, what)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _policy_document(*statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
