"""What no sender should send: refused with its reason in both regions, and its neighbours are unharmed."""

from __future__ import annotations

import base64
import json
import zlib
from functools import partial
from typing import Any, Final

import pytest

from localcloud.cloud import TENANT, LocalCloud
from localcloud.processes import wait_until
from localcloud.replay import things_sender
from localcloud.simulator.thing_publisher import ThingPublisher
from plantwatch.aws.dead_letters import read_dead_letters
from plantwatch.telemetry import TIMESTAMP_KEY, isoformat
from tests.e2e.flow import collect

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

DEVICE: Final = "broken-1"
NOW: Final = 1_795_413_600_000
BATCH: Final = {"epoch": 1, "bundle": "b", "series": [["other", ["t"], [1], [NOW], [0], [[1.5]], [0.1], [], {}]]}
PAYLOADS: Final = {
    b'{"ts": 1795413600, "t": ': "malformed_json",
    b'{"ts": 1795413600, "t": NaN}': "not_finite",
    b'{"ts": 1795413600, "t": 1e999}': "not_finite",
    b'{"ts": 1795413600, "t": "83.2"}': "no_signals",
    b'{"t": 1}': "missing_timestamp",
    b'{"ts": 3, "t": 1}': "timestamp_out_of_range",
    b'{"ts": 1795413600, "t": "\xff"}': "wrong_encoding",
    b'{"ts": 1795413600, "pad": "' + b"x" * 120_000 + b'"}': "too_large",
    b"PW\x01" + zlib.compress(json.dumps(BATCH).encode()): "not_a_gateway",
}


def letters_of(cloud: LocalCloud, role: str) -> dict[bytes, str]:
    names = cloud.layout.names(cloud.layout.region(role))
    s3 = cloud.session(role).client("s3")
    letters = read_dead_letters(s3, names.lake_bucket, tenant=names.tenant, region=names.region)
    return {
        base64.b64decode(letter["payload"]): letter["reason"] for letter in letters if f"/{DEVICE}/" in letter["topic"]
    }


def test_each_is_a_dead_letter_with_its_bytes_and_neighbours_are_stored(cloud: LocalCloud) -> None:
    sent: set[str] = set()
    with things_sender(cloud, [DEVICE]) as send:
        for second, payload in enumerate(PAYLOADS):
            send.raw(DEVICE, payload)
            send(DEVICE, {TIMESTAMP_KEY: NOW + second * 1000, "t": 20.0})
            sent.add(isoformat(NOW + second * 1000))
    outcome = collect(cloud, {DEVICE: sent})
    assert (outcome.missing("primary"), outcome.missing("dr")) == ({}, {})
    with cloud.aws():
        for role in ("primary", "dr"):
            wait_until(partial(all_refused, cloud, role), 60, f"dead letters in {role}")
            refused = letters_of(cloud, role)
            assert {payload: refused.get(payload) for payload in PAYLOADS} == PAYLOADS


def all_refused(cloud: LocalCloud, role: str) -> bool:
    return len(letters_of(cloud, role)) == len(PAYLOADS)


@pytest.mark.parametrize(
    "topic_owner", [("broken-2", TENANT), ("someone-else", TENANT)], ids=["own topic is allowed", "another device's"]
)
def test_a_thing_may_speak_for_itself_only(cloud: LocalCloud, topic_owner: tuple[str, str]) -> None:
    cloud.onboard_thing("broken-2")
    device, tenant = topic_owner
    endpoint = cloud.layout.mqtt_endpoint("broken-2", cloud.layout.primary)
    with ThingPublisher(tenant, device, {"primary": endpoint}) as thing:
        thing.publish({"t": 1.0}, NOW)
        assert thing.drain(5.0) == (device == "broken-2"), thing.health()


def alerts_in_dr_queue(cloud: LocalCloud) -> list[Any]:
    names = cloud.layout.names(cloud.layout.dr)
    sqs = cloud.session("dr").client("sqs")
    url = sqs.get_queue_url(QueueName=names.alerts_queue)["QueueUrl"]
    messages: list[Any] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
    return messages


def test_the_standby_region_alerts_nobody(cloud: LocalCloud) -> None:
    with cloud.aws():
        assert alerts_in_dr_queue(cloud) == []
