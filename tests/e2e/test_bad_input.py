"""What no sender should send: refused with its reason in both regions, and its neighbours are unharmed."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from localcloud.cloud import TENANT, LocalCloud
from localcloud.processes import wait_until
from localcloud.region import Region
from localcloud.replay import things_sender
from plantwatch.aws.dead_letters import read_dead_letters
from plantwatch.telemetry import TIMESTAMP_KEY, isoformat, telemetry_topic
from tests.e2e.flow import collect
from tests.region_support import Device, MqttSession, session

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

DEVICE: Final = "broken-1"
# Reason codes of a PUBACK.
ACCEPTED: Final = 0
NOT_AUTHORISED: Final = 135
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
    # As a replay marks its rows: whoever counts them must live with it too.
    b'{"ts": 1795413600, "row": "\xff"}': "wrong_encoding",
    b'{"ts": 1795413600, "pad": "' + b"x" * 120_000 + b'"}': "too_large",
    b'{"ts": 1795413600, "t": ' + b"7" * 5_000 + b"}": "malformed_json",
    b'{"t": ' + b"[" * 60_000 + b"]" * 60_000 + b"}": "malformed_json",
    b"PW\x01" + zlib.compress(json.dumps(BATCH).encode()): "not_a_gateway",
}


# Levels below a device's own name that mean nothing here; the last is as deep as IoT Core allows (seven slashes).
UNKNOWN_LEVELS: Final = ("status", "Telemetry", "telemetry/v2", "", "a/b/c/d")


@dataclass(frozen=True)
class Broker:
    """Where a session connects to (see tests.region_support.Reachable)."""

    region: Region


def letters_of(cloud: LocalCloud, role: str, device: str) -> list[Mapping[str, Any]]:
    names = cloud.layout.names(cloud.layout.region(role))
    s3 = cloud.session(role).client("s3")
    letters = read_dead_letters(s3, names.lake_bucket, tenant=names.tenant, region=names.region)
    return [letter for letter in letters if f"/{device}/" in letter["topic"]]


def wait_for_letters(cloud: LocalCloud, role: str, device: str, count: int) -> list[Mapping[str, Any]]:
    """`count` different ones: every leg is at least once."""

    def different() -> int:
        return len({(letter["topic"], letter["payload"]) for letter in letters_of(cloud, role, device)})

    wait_until(lambda: different() >= count, 60, f"{count} dead letters of {device} in {role}")
    return letters_of(cloud, role, device)


@contextmanager
def session_of(cloud: LocalCloud, thing: str, role: str) -> Iterator[MqttSession]:
    """The thing's own connection to one region's broker, with its own certificate."""
    cloud.onboard_thing(thing)
    region = cloud.layout.region(role)
    endpoint = cloud.layout.mqtt_endpoint(thing, region)
    device = Device(thing, Path(endpoint.certificate_path), Path(endpoint.key_path), Path(endpoint.ca_path), "", "")
    with session(Broker(region), device) as opened:
        yield opened


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
            letters = wait_for_letters(cloud, role, DEVICE, len(PAYLOADS))
            assert {base64.b64decode(letter["payload"]): letter["reason"] for letter in letters} == PAYLOADS


def test_a_message_on_an_unknown_topic_level_is_a_dead_letter_and_counted_in_both_regions(cloud: LocalCloud) -> None:
    topics = {f"tenants/{TENANT}/devices/broken-3/{levels}" for levels in UNKNOWN_LEVELS}
    reading = json.dumps({TIMESTAMP_KEY: NOW, "t": 20.0}).encode()
    for role in ("primary", "dr"):
        with session_of(cloud, "broken-3", role) as thing:
            assert [thing.publish(topic, reading) for topic in sorted(topics)] == [ACCEPTED] * len(topics)
            assert thing.publish(telemetry_topic(TENANT, "broken-3"), reading) == ACCEPTED
    with cloud.aws():
        for role in ("primary", "dr"):
            letters = wait_for_letters(cloud, role, "broken-3", len(topics))
            assert {letter["topic"] for letter in letters} == topics
            assert {(letter["reason"], base64.b64decode(letter["payload"])) for letter in letters} == {
                ("unknown_topic", reading)
            }
    outcome = collect(cloud, {"broken-3": {isoformat(NOW)}})
    assert (outcome.missing("primary"), outcome.missing("dr")) == ({}, {})
    # The report's `rejected_by_reason`; no other test sends any.
    assert [stored.dead_letters["unknown_topic"] for stored in outcome.stored.values()] == [len(topics)] * 2


@pytest.mark.parametrize("role", ["primary", "dr"])
@pytest.mark.parametrize("level", ["telemetry", "status"])
def test_a_thing_speaks_for_no_other_device_and_no_other_tenant(cloud: LocalCloud, role: str, level: str) -> None:
    others = [
        f"tenants/{TENANT}/devices/someone-else/{level}",
        f"tenants/{TENANT}/devices/broken-22/{level}",
        f"tenants/beta/devices/broken-2/{level}",
        f"tenants/{TENANT}/devices/{level}",
        f"{level}",
    ]
    with session_of(cloud, "broken-2", role) as thing:
        assert [thing.publish(topic, b"{}") for topic in others] == [NOT_AUTHORISED] * len(others)
        assert thing.publish(f"tenants/{TENANT}/devices/broken-2/telemetry", b"{}") == ACCEPTED
