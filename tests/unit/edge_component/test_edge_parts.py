"""The small parts: inbox, forwarding, checkpoint, status, lock."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path

import pytest

from edge_component import checkpoint, status
from edge_component.forwarding import BURST, PER_SECOND, Forwarding
from edge_component.inbox import Inbox
from edge_component.intake import Count
from edge_component.legs import Health
from edge_component.state_lock import StateInUse, StateLock
from edge_component.worker import Timer
from plantwatch.machine import Machines
from plantwatch.telemetry import Reading, Rejection, RejectionReason

AT = 1_732_341_600_000


def test_a_full_inbox_refuses_and_counts_and_never_blocks() -> None:
    inbox = Inbox(bytes_max=10, now=lambda: AT)
    for payload in (b"12345", b"67890", b"x"):
        inbox.put("topic", payload)
    assert inbox.refused == 1
    assert [message.payload for message in inbox.drain(0.0)] == [b"12345", b"67890"]
    assert inbox.is_empty
    inbox.put("topic", b"room again")
    assert inbox.refused == 1


def test_draining_takes_a_bounded_part_in_order() -> None:
    inbox = Inbox(bytes_max=1_000, now=lambda: AT)
    for index in range(10):
        inbox.put("topic", b"%04d" % index)
    taken = [message.payload for message in inbox.drain(0.0, bytes_max=12)]
    assert taken == [b"0000", b"0001", b"0002"]
    assert len(inbox.drain(0.0)) == 7


def test_a_waiting_inbox_wakes_for_a_message() -> None:
    inbox = Inbox(bytes_max=1_000, now=lambda: AT)
    threading.Timer(0.02, inbox.put, ("topic", b"x")).start()
    assert [message.payload for message in inbox.drain(10.0)] == [b"x"]


def admitted(forwarding: Forwarding, count: int, at: int, payload: bytes = b"{}") -> int:
    refused = Rejection(RejectionReason.NO_SIGNALS, "", "topic", at, payload)
    return sum(forwarding.admits(refused) for _ in range(count))


def test_of_many_refusals_a_burst_is_forwarded_and_then_a_few_each_second() -> None:
    forwarding = Forwarding()
    assert admitted(forwarding, 1_000, AT) == BURST
    assert [admitted(forwarding, 1_000, AT + second * 1_000) for second in (1, 2, 3)] == [PER_SECOND] * 3
    assert admitted(forwarding, 1_000, AT + 3_600_000) == BURST, "a pause fills the bucket, not more"


def test_long_refusals_count_for_many_so_that_they_cannot_eat_the_uplink() -> None:
    forwarding = Forwarding()
    assert admitted(forwarding, 1_000, AT, b"x" * 2_500) == BURST / 5
    assert admitted(forwarding, 1_000, AT + 60_000, b"x" * 128_000) == BURST / 10


def test_a_clock_that_is_set_back_does_not_stop_forwarding() -> None:
    forwarding = Forwarding()
    admitted(forwarding, 1_000, AT)
    assert admitted(forwarding, 1_000, AT - 10**9) == 0
    assert admitted(forwarding, 1_000, AT - 10**9 + 1_000) == PER_SECOND


def test_a_timer_elapses_once_per_interval() -> None:
    timer = Timer(10.0, now=0.0)
    assert [timer.elapsed(now) for now in (0.0, 9.0, 10.0, 11.0, 20.0)] == [False, False, True, False, True]


def learnt(path: Path) -> Machines:
    machines = Machines()
    for index in range(50):
        at = AT + index * 200
        machines.watch(Reading("acme", "pump", at, at, {"flow": index % 7 + 0.1}))
    checkpoint.save(path, machines)
    return machines


def test_a_checkpoint_brings_back_what_was_learnt(tmp_path: Path) -> None:
    before, after = learnt(tmp_path / "machines"), Machines()
    assert checkpoint.restore(tmp_path / "machines", after)
    reading = Reading("acme", "pump", AT + 20_000, AT + 20_000, {"flow": 3.3})
    assert after.watch(reading) == before.watch(reading)
    assert after.snapshot() == before.snapshot()
    assert list(tmp_path.iterdir()) == [tmp_path / "machines"], "nothing half-written stays"


def test_a_damaged_or_missing_checkpoint_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "machines"
    machines = Machines()
    assert not checkpoint.restore(path, machines)
    learnt(path)
    path.write_bytes(path.read_bytes()[:-20])
    assert not checkpoint.restore(path, machines)
    assert len(machines) == 0


def test_the_status_of_many_devices_comes_in_parts_that_the_nucleus_carries() -> None:
    health = Health(connected=True, queued_rows=1, queued_bytes=2, published=3, failed=4, last_error="x" * 200)
    whole = status.Status(
        "gateway-1", 3, "bundle", AT, Counter({Count.ACCEPTED: 5}), 0, {"too_large": 1}, {},
        {"primary": health, "dr": health},
        {f"machine-{'x' * 30}{index:04d}": index for index in range(450)},
    )  # fmt: skip
    parts = [json.loads(part) for part in status.encode(whole)]
    assert max(len(part) for part in status.encode(whole)) < 7_000
    assert {name: last for part in parts for name, last in part["devices"].items()} == whole.devices
    assert parts[0]["legs"]["dr"]["published"] == 3
    assert parts[0]["counts"] == {"accepted": 5}


def test_the_status_of_an_idle_gateway_is_told_too() -> None:
    idle = status.Status("gateway-1", 3, "bundle", AT, {}, 0, {}, {}, {})
    assert [json.loads(part)["devices"] for part in status.encode(idle)] == [{}]


def test_only_one_process_holds_the_state_folder(tmp_path: Path) -> None:
    first = StateLock(tmp_path / "state", timeout_s=0.0)
    with pytest.raises(StateInUse):
        StateLock(tmp_path / "state", timeout_s=0.1)
    first.release()
    StateLock(tmp_path / "state", timeout_s=0.0).release()
