"""ResultStore: one battery for the fake and for DynamoDB."""

from __future__ import annotations

import pytest

from plantwatch.aws.results import STILL_OPEN_MS
from plantwatch.incident import Kind, Phase
from tests.contract.ports_support import (
    BOTH,
    DAY_MS,
    START,
    alert,
    make_objects,
    make_store,
    scored,
)
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component


@BOTH
def test_an_anomaly_is_stored_once(kind: str, request: pytest.FixtureRequest) -> None:
    store = make_store(kind, request)
    assert store.port.put_anomaly(scored(1))
    assert not store.port.put_anomaly(scored(1))
    assert store.port.put_anomaly(scored(2))


@BOTH
def test_an_alert_is_to_be_sent_until_it_is_marked_and_never_after(kind: str, request: pytest.FixtureRequest) -> None:
    port = make_store(kind, request).port
    opened, cleared = alert(Phase.OPENED), alert(Phase.CLEARED, after_ms=60_000)
    assert port.put_transition(opened) == opened
    assert port.put_transition(opened) == opened, "a crash before sending"
    port.mark_notified(opened)
    assert port.put_transition(opened) is None
    assert port.put_transition(cleared) == cleared
    assert port.put_transition(cleared) == cleared
    port.mark_notified(cleared)
    assert port.put_transition(cleared) is None
    assert port.put_transition(opened) is None, "a repeat from an old checkpoint reopens nothing"


@BOTH
def test_one_incident_per_device_and_kind_is_open(kind: str, request: pytest.FixtureRequest) -> None:
    port = make_store(kind, request).port
    port.put_transition(alert(Phase.OPENED))
    assert port.put_transition(alert(Phase.OPENED, START + 5000)) is None, "a scorer restarted cold finds it again"
    other_kind = alert(Phase.OPENED, START + 5000, kind=Kind.SENSOR_FAULT)
    assert port.put_transition(other_kind) == other_kind
    much_later = alert(Phase.OPENED, START + STILL_OPEN_MS)
    assert port.put_transition(much_later) == much_later, "a lost clearing does not silence a machine for ever"


@BOTH
def test_what_a_cold_scorer_clears_is_the_incident_that_is_open(kind: str, request: pytest.FixtureRequest) -> None:
    port = make_store(kind, request).port
    opened, unknown = alert(Phase.OPENED), alert(Phase.CLEARED, START + 5000, after_ms=60_000)
    port.put_transition(opened)
    port.mark_notified(opened)
    to_send = port.put_transition(unknown)
    assert to_send is not None
    assert port.put_transition(unknown) == to_send, "after a crash before marking"
    assert (to_send.incident_id, to_send.first_seen) == (opened.incident_id, opened.first_seen)
    assert to_send.observed_at == unknown.observed_at
    port.mark_notified(to_send)
    assert port.put_transition(unknown) is None
    again = alert(Phase.OPENED, START + 90_000)
    assert port.put_transition(again) == again


@BOTH
def test_clearing_an_unknown_incident_is_harmless(kind: str, request: pytest.FixtureRequest) -> None:
    port = make_store(kind, request).port
    assert port.put_transition(alert(Phase.CLEARED)) is None
    port.mark_notified(alert(Phase.CLEARED))
    assert port.put_transition(alert(Phase.OPENED)) == alert(Phase.OPENED)


def test_an_anomalys_item_keeps_its_numbers_exactly_and_expires(
    patched: RunningRegion, request: pytest.FixtureRequest
) -> None:
    store = make_store("real", request)
    assert store.look is not None
    store.port.put_anomaly(scored(1, vibration=0.1, tiny=1e-300, huge=1.7e308, zero=-0.0))
    (anomaly,) = store.look("pump-7", "anomaly#")
    assert anomaly["sk"]["S"] == "anomaly#2026-11-18T11:06:41.000Z#gateway-1.000001.000000000001"
    signals = anomaly["signals"]["M"]
    assert signals["vibration"] == {"N": "0.1"}
    assert (signals["tiny"], signals["huge"]) == ({"S": "1e-300"}, {"S": "1.7e+308"}), "beyond DynamoDB's numbers"
    assert anomaly["score"] == {"N": "0.99976"}
    assert int(anomaly["ttl"]["N"]) == (START + 1000 + 400 * DAY_MS) // 1000
    assert anomaly["faults"]["L"] == [{"M": {"signal": {"S": "pressure"}, "fault": {"S": "gap"}}}]


def test_an_incidents_item_tells_its_phase_and_what_was_notified_and_its_guard_goes_with_it(
    patched: RunningRegion, request: pytest.FixtureRequest
) -> None:
    store = make_store("real", request)
    assert store.look is not None
    store.port.put_transition(alert(Phase.OPENED))
    store.port.mark_notified(alert(Phase.OPENED))
    (guard,) = store.look("pump-7", "open#")
    assert guard["sk"]["S"] == "open#process_anomaly"
    cleared = alert(Phase.CLEARED, after_ms=60_000)
    store.port.put_transition(cleared)
    store.port.mark_notified(cleared)
    (incident,) = store.look("pump-7", "incident#")
    assert incident["phase"] == {"S": "cleared"}
    assert incident["cleared_at"] == {"S": "2026-11-18T11:07:40.000Z"}
    assert (incident["notified_opened"], incident["notified_cleared"]) == ({"BOOL": True}, {"BOOL": True})
    assert store.look("pump-7", "open#") == []


def test_an_older_reading_never_replaces_a_devices_state(
    patched: RunningRegion, request: pytest.FixtureRequest
) -> None:
    store = make_store("real", request)
    assert store.look is not None
    for sequence in (5, 3):
        store.port.put_device_states([scored(sequence), scored(sequence, device="fan-2")])
    (state,) = store.look("pump-7", "state")
    assert state["key"]["S"] == "gateway-1.000001.000000000005"
    store.port.put_device_states([scored(6)])
    assert store.look("pump-7", "state")[0]["key"]["S"] == "gateway-1.000001.000000000006"


def test_an_attribute_with_half_a_character_is_stored_in_table_and_lake(
    patched: RunningRegion, request: pytest.FixtureRequest
) -> None:
    """JSON may carry half of a surrogate pair; DynamoDB refuses it, and a refusal would stop the shard."""
    odd = scored(1)
    odd = odd._replace(reading=odd.reading._replace(attributes={"operator": "\ud800!"}))
    store, objects = make_store("real", request), make_objects("real", request)
    assert store.port.put_anomaly(odd)
    objects.lake.append([odd], position="shard-1", stored_at=START)
    assert len(objects.rows()) == 1
