"""What tests need of emulated regions: a running one, its clients, devices with certificates, MQTT sessions."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import boto3
from awscrt import mqtt5
from awsiot import mqtt5_client_builder
from botocore.config import Config

from localcloud.processes import ProcessTable, free_ports, wait_until
from localcloud.region import HOST, Region, emulator_spec, endpoint_url, fetch_ca, wait_ready

TENANT: Final = "acme"
ANSWER_WITHIN_S: Final = 15.0
# A deadline for what should not happen: long enough that it would have happened on a machine that is not busy.
NEVER_S: Final = 1.5
IOT_TRUST: Final = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "iot.amazonaws.com"}, "Action": "sts:AssumeRole"},
        ],
    }
)


class RunningRegion:
    """One emulated region on free ports, with its state below `root`."""

    def __init__(
        self, table: ProcessTable, root: Path, *, role: str = "primary", name: str = "us-east-1", **options: Any
    ):
        self.region = Region(role, name, *free_ports(2))
        self.root = root
        # What a defect prevents is not waited for longer than it takes to see that; what must happen may take its time.
        self.patience_s = NEVER_S if options.get("stock") else ANSWER_WITHIN_S
        self._table = table
        self._spec = emulator_spec(self.region, root, **options)

    def start(self) -> None:
        self._table.start(self._spec)
        wait_ready(self.region, table=self._table)

    def stop(self) -> None:
        self._table.stop(self._spec.name)

    def kill(self) -> None:
        self._table.kill(self._spec.name)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=endpoint_url(self.region),
            region_name=self.region.name,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 1}),
        )

    def role(self) -> str:
        """The ARN of a role that rules may assume."""
        iam = self.client("iam")
        try:
            answer = iam.create_role(RoleName="rules", AssumeRolePolicyDocument=IOT_TRUST)
        except iam.exceptions.EntityAlreadyExistsException:
            answer = iam.get_role(RoleName="rules")
        return str(answer["Role"]["Arn"])

    def rule(self, name: str, sql: str, action: dict[str, Any], error_action: dict[str, Any] | None = None) -> None:
        payload: dict[str, Any] = {"sql": sql, "awsIotSqlVersion": "2016-03-23", "actions": [action]}
        if error_action:
            payload["errorAction"] = error_action
        self.client("iot").create_topic_rule(ruleName=name, topicRulePayload=payload)

    def records(self, stream: str) -> list[dict[str, Any]]:
        """Everything that a stream holds, closed shards included."""
        kinesis = self.client("kinesis")
        shards = kinesis.list_shards(StreamName=stream)["Shards"]
        return [record for shard in shards for record in self._shard_records(kinesis, stream, shard["ShardId"])]

    def _shard_records(self, kinesis: Any, stream: str, shard_id: str) -> Iterator[dict[str, Any]]:
        arguments = {"StreamName": stream, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(**arguments)["ShardIterator"]
        while iterator:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            yield from answer["Records"]
            iterator = answer.get("NextShardIterator") if answer["Records"] else None


@dataclass(frozen=True)
class Device:
    """A thing with its certificate, allowed to publish on its own topics only."""

    thing: str
    certificate: Path
    key: Path
    ca: Path
    certificate_id: str
    certificate_arn: str

    @property
    def topic(self) -> str:
        return f"tenants/{TENANT}/devices/{self.thing}/telemetry"


def provision(running: RunningRegion, thing: str) -> Device:
    iot, folder = running.client("iot"), running.root / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    iot.create_thing(thingName=thing)
    created = iot.create_keys_and_certificate(setAsActive=True)
    _ensure_policy(iot, running.region.name)
    iot.attach_policy(policyName="devices", target=created["certificateArn"])
    iot.attach_thing_principal(thingName=thing, principal=created["certificateArn"])
    device = Device(
        thing,
        folder / f"{thing}.crt",
        folder / f"{thing}.key",
        folder / "ca.pem",
        created["certificateId"],
        created["certificateArn"],
    )
    device.certificate.write_text(created["certificatePem"])
    device.key.write_text(created["keyPair"]["PrivateKey"])
    device.ca.write_bytes(fetch_ca(running.region))
    return device


def _ensure_policy(iot: Any, region: str) -> None:
    arn, thing = f"arn:aws:iot:{region}:000000000000", "${iot:Connection.Thing.ThingName}"
    attached = {"Bool": {"iot:Connection.Thing.IsAttached": ["true"]}}
    topic = f"{arn}:topic/tenants/{TENANT}/devices/{thing}/*"
    statements = [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": f"{arn}:client/{thing}", "Condition": attached},
        {"Effect": "Allow", "Action": "iot:Publish", "Resource": topic},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    try:
        iot.create_policy(policyName="devices", policyDocument=document)
    except iot.exceptions.ResourceAlreadyExistsException:
        return


class Reachable(Protocol):
    """What has a broker to connect to."""

    @property
    def region(self) -> Region: ...


class MqttSession:
    """A connected MQTT5 client that publishes with QoS 1."""

    def __init__(self, running: Reachable, device: Device, client_id: str) -> None:
        self._up: Future[Any] = Future()
        self._stopped = threading.Event()
        self.dropped = threading.Event()
        self._client = mqtt5_client_builder.mtls_from_path(
            endpoint="localhost",
            port=running.region.mqtt_port,
            cert_filepath=str(device.certificate),
            pri_key_filepath=str(device.key),
            ca_filepath=str(device.ca),
            client_id=client_id,
            on_lifecycle_connection_success=self._succeeded,
            on_lifecycle_connection_failure=self._failed,
            on_lifecycle_disconnection=lambda _event: self.dropped.set(),
            on_lifecycle_stopped=lambda _event: self._stopped.set(),
            extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
        )
        self._client.start()

    def connected(self) -> MqttSession:
        """Raises what the broker or TLS refused."""
        self._up.result(ANSWER_WITHIN_S)
        return self

    def send(self, topic: str, payload: bytes) -> Future[Any]:
        """Resolves at the PUBACK."""
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)
        future: Future[Any] = self._client.publish(packet)
        return future

    def publish(self, topic: str, payload: bytes) -> int:
        """The reason code of the PUBACK: 0 accepted, 135 not authorised."""
        return int(self.send(topic, payload).result(ANSWER_WITHIN_S).puback.reason_code)

    def close(self) -> None:
        self._client.stop()
        self._stopped.wait(ANSWER_WITHIN_S)

    def _succeeded(self, event: Any) -> None:
        # Called again at every reconnect.
        if not self._up.done():
            self._up.set_result(event)

    def _failed(self, event: Any) -> None:
        if not self._up.done():
            self._up.set_exception(event.exception)


@contextmanager
def session(running: Reachable, device: Device, client_id: str = "") -> Iterator[MqttSession]:
    opened = MqttSession(running, device, client_id or device.thing)
    try:
        yield opened.connected()
    finally:
        opened.close()


def connack_without_certificate(running: RunningRegion) -> bytes:
    """What the broker answers to an MQTT 3.1.1 CONNECT over TLS without a client certificate; b"" when it closes."""
    context = ssl.create_default_context(cadata=fetch_ca(running.region).decode())
    connect = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05guest"
    with (
        socket.create_connection((HOST, running.region.mqtt_port), timeout=ANSWER_WITHIN_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        try:
            tls.sendall(connect)
            return tls.recv(16)
        except (ConnectionError, ssl.SSLError):
            return b""


def happens(condition: Callable[[], bool], within_s: float) -> bool:
    try:
        wait_until(condition, within_s, "condition")
    except TimeoutError:
        return False
    return True
