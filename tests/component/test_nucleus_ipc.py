"""The stand-in nucleus against the real IPC client: what it allows, what it refuses, and where its limits are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from awsiot.greengrasscoreipc import clientv2, connect, model

from edge_component.nucleus import Nucleus, NucleusAddress, NucleusUnavailable, describe
from localcloud.nucleus.settings import Visitor
from plantwatch.ports import DeliveryFailed
from plantwatch.telemetry import telemetry_topic
from tests.component.edge_support import (
    GATEWAY,
    RunningNucleus,
    World,
    bare_nucleus,
    eventually,
    running_world,
    short_folder,
)
from tests.region_support import TENANT

pytestmark = [pytest.mark.component, pytest.mark.timeout(60)]

TELEMETRY = telemetry_topic(TENANT, GATEWAY)
PUBLISHER = Visitor(
    "publisher",
    "token-of-the-publisher",
    {
        "aws.greengrass.ipc.mqttproxy": {
            "p1": {
                "operations": ["aws.greengrass#PublishToIoTCore"],
                "resources": ["tenants/*/devices/{iot:thingName}/*"],
            }
        }
    },
)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with running_world(with_dr=False) as running:
        yield running


@pytest.fixture(scope="module")
def nucleus(world: World) -> Iterator[RunningNucleus]:
    with short_folder() as root:
        running = RunningNucleus(bare_nucleus(root, world.endpoints["primary"], PUBLISHER), world.table)
        running.start()
        eventually(lambda: "connected as" in running.log(), "the nucleus is online")
        yield running
        running.stop()


@pytest.fixture
def client(nucleus: RunningNucleus) -> Iterator[Nucleus]:
    with closing(Nucleus(nucleus.address, on_lost=lambda: None)) as connection:
        yield connection


@pytest.fixture
def publisher(nucleus: RunningNucleus) -> Iterator[Nucleus]:
    address = NucleusAddress(nucleus.address.socket, PUBLISHER.token)
    with closing(Nucleus(address, on_lost=lambda: None)) as connection:
        yield connection


class Outcome:
    """What became of one publication."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._error: DeliveryFailed | None = None

    def __call__(self, error: DeliveryFailed | None) -> None:
        self._error = error
        self._done.set()

    def error(self) -> str:
        assert self._done.wait(10.0)
        return str(self._error) if self._error else ""


def publish_iot_core(client: Nucleus, topic: str, payload: bytes) -> str:
    outcome = Outcome()
    client.publish_iot_core(topic, payload, outcome)
    return outcome.error()


def publish_local(client: Nucleus, topic: str, payload: bytes) -> str:
    outcome = Outcome()
    client.publish_local(topic, payload, outcome)
    return outcome.error()


def test_an_unknown_token_is_refused(nucleus: RunningNucleus) -> None:
    with pytest.raises(NucleusUnavailable, match="AccessDenied"):
        Nucleus(NucleusAddress(nucleus.address.socket, "nobody's"), on_lost=lambda: None)


def test_local_messages_arrive_in_their_order(client: Nucleus) -> None:
    heard: list[Any] = []
    client.subscribe("plantwatch/order", lambda _, payload: heard.append(payload))
    for index in range(500):
        client.publish_local("plantwatch/order", b"%d" % index, lambda _: None)
    eventually(lambda: len(heard) == 500, "all are heard")
    assert heard == [b"%d" % index for index in range(500)]


def test_a_topic_outside_the_policy_is_refused_with_a_reason(client: Nucleus) -> None:
    error = publish_local(client, "elsewhere/topic", b"x")
    assert "UnauthorizedError: Principal simulator is not authorized" in error
    assert "UnauthorizedError" in publish_iot_core(client, TELEMETRY, b"x")
    with pytest.raises(NucleusUnavailable, match="UnauthorizedError"):
        client.subscribe("elsewhere/#", lambda _topic, _payload: None)


def test_a_wildcard_in_a_published_topic_is_an_invalid_argument(client: Nucleus) -> None:
    assert "InvalidArgumentsError" in publish_local(client, "plantwatch/telemetry/+", b"x")


def test_success_means_that_the_broker_has_it(world: World, publisher: Nucleus) -> None:
    assert publish_iot_core(publisher, TELEMETRY, b'{"ts": 1732341600, "a": 1}') == ""
    assert world.primary.telemetry()[-1].payload == b'{"ts": 1732341600, "a": 1}'


def test_what_the_cloud_refuses_is_a_service_error(publisher: Nucleus) -> None:
    # The recipe may allow it; the certificate's policy in the cloud does not.
    error = publish_iot_core(publisher, f"tenants/{TENANT}/devices/{GATEWAY}/other", b"x")
    assert error.startswith("ServiceError: Failed to publish the message: refused")


def test_a_message_above_the_limit_of_nucleus_lite_closes_the_connection(nucleus: RunningNucleus) -> None:
    lost = threading.Event()
    address = NucleusAddress(nucleus.address.socket, PUBLISHER.token)
    with closing(Nucleus(address, on_lost=lost.set)) as publisher:
        assert publish_iot_core(publisher, TELEMETRY, b"x" * 7_000) == ""
        assert publish_iot_core(publisher, TELEMETRY, b"x" * 7_500) != ""
        assert lost.wait(10.0)
        assert not publisher.connected
        assert publish_iot_core(publisher, TELEMETRY, b"x") != "", "every later call fails too"


def test_too_much_unacknowledged_fails_at_once(publisher: Nucleus) -> None:
    outcomes = [Outcome() for _ in range(20)]
    for outcome in outcomes:
        publisher.publish_iot_core(TELEMETRY, b"x" * 5_000, outcome)
    errors = [outcome.error() for outcome in outcomes]
    assert "" in errors
    assert any("too much is unacknowledged" in error for error in errors)


def test_configuration_is_read_changed_and_watched(nucleus: RunningNucleus) -> None:
    connection = connect(ipc_socket=nucleus.address.socket, authtoken=nucleus.address.token)
    raw = clientv2.GreengrassCoreIPCClientV2(client=connection, executor=None)
    events: list[list[str]] = []
    raw.subscribe_to_configuration_update(
        key_path=["limits"], on_stream_event=lambda event: events.append(event.configuration_update_event.key_path)
    )
    now = datetime.now(UTC)
    raw.update_configuration(key_path=["limits"], timestamp=now, value_to_merge={"rate": 5, "deep": {"x": True}})
    # Nucleus lite hands out scalars as text.
    assert raw.get_configuration(key_path=["limits"]).value == {"rate": "5", "deep": {"x": "true"}}
    assert raw.get_configuration(key_path=["limits", "rate"]).value == {"rate": "5"}
    eventually(lambda: len(events) == 2, "one event per changed leaf")
    assert sorted(events) == [["limits", "deep", "x"], ["limits", "rate"]]
    stale = datetime.fromtimestamp(now.timestamp() - 60, UTC)
    with pytest.raises(model.ConflictError):
        raw.update_configuration(key_path=["limits"], timestamp=stale, value_to_merge={"rate": 6})
    with pytest.raises(model.ResourceNotFoundError) as caught:
        raw.get_configuration(key_path=["nothing"])
    assert "Key not found" in describe(caught.value)
    raw.close().result(5)


def test_an_operation_that_nucleus_lite_lacks_is_a_service_error(nucleus: RunningNucleus) -> None:
    connection = connect(ipc_socket=nucleus.address.socket, authtoken=nucleus.address.token)
    raw = clientv2.GreengrassCoreIPCClientV2(client=connection, executor=None)
    with pytest.raises(model.ServiceError):
        raw.get_secret_value(secret_id="x")
    raw.close().result(5)


def test_offline_a_publication_fails_at_once(world: World, publisher: Nucleus) -> None:
    world.primary.stop()
    try:
        eventually(lambda: "offline" in publish_iot_core(publisher, TELEMETRY, b"x"), "the nucleus notices")
    finally:
        world.primary.start()
    eventually(lambda: publish_iot_core(publisher, TELEMETRY, b"x") == "", "and it comes back by itself")
