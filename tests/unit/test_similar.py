"""Which past incidents look like a new one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.incident import Alert, Cause, Fault, Kind, Phase, Severity
from plantwatch.similar import PAST_MAX, similar_incidents
from plantwatch.telemetry import EpochMs

START: EpochMs = 1_700_000_000_000


def cause(signal: str, share: float, observed: float = 9.0, fault: Fault | None = None) -> Cause:
    return Cause(signal, share, observed, 1.0, 5.0, fault)


def alert(name: str, *causes: Cause, kind: Kind = Kind.PROCESS_ANOMALY, severity: Severity = Severity.HIGH) -> Alert:
    return Alert(
        name, "acme", "pump-1", kind, Phase.OPENED, severity, 0.999, START, START + 1000, causes, region="r"
    )  # fmt: skip


NOW = alert("now", cause("pressure", 0.7), cause("flow", 0.3))


def names(*past: Alert, **options: float) -> list[str]:
    return [found.past.incident_id for found in similar_incidents(NOW, past, **options)]  # type: ignore[arg-type]


def test_the_same_picture_comes_first_and_others_do_not_come() -> None:
    same = alert("same", cause("pressure", 0.68), cause("flow", 0.32))
    near = alert("near", cause("pressure", 0.5), cause("flow", 0.1), cause("temperature", 0.4))
    other = alert("other", cause("temperature", 1.0))
    assert names(other, near, same) == ["same", "near"]
    assert similar_incidents(NOW, [same])[0].likeness > 0.99


def test_the_incident_itself_its_clearance_and_other_kinds_are_none() -> None:
    cleared = alert("cleared", *NOW.causes)._replace(phase=Phase.CLEARED)
    sensor = alert("sensor", *NOW.causes, kind=Kind.SENSOR_FAULT)
    assert names(NOW, cleared, sensor) == []


def test_too_low_is_not_like_too_high_and_each_fault_is_its_own() -> None:
    low = alert("low", cause("pressure", 0.7, 0.5), cause("flow", 0.3, 0.1))
    assert names(low) == []
    stuck = alert("stuck", cause("pressure", 1.0, fault=Fault.STUCK), kind=Kind.SENSOR_FAULT)
    gap = alert("gap", cause("pressure", 1.0, fault=Fault.GAP), kind=Kind.SENSOR_FAULT)
    again = alert("again", cause("pressure", 1.0, fault=Fault.STUCK), kind=Kind.SENSOR_FAULT)
    assert [found.past for found in similar_incidents(again, [gap, stuck])] == [stuck]


def test_severity_apart_costs_a_tenth_each_step() -> None:
    low = alert("low", *NOW.causes, severity=Severity.LOW)
    (found,) = similar_incidents(NOW, [low])
    assert found.likeness == pytest.approx(0.8)


def test_of_equals_the_newest_comes_first_and_each_incident_once() -> None:
    old, new = alert("old", *NOW.causes), alert("new", *NOW.causes)._replace(first_seen=START + 5)
    assert names(old, new, old) == ["new", "old"]
    assert names(old, new, most=1) == ["new"]


def test_no_more_than_the_limit_are_looked_at() -> None:
    unlike = alert("unlike", cause("temperature", 1.0))
    past = itertools.chain(itertools.repeat(unlike, PAST_MAX), [alert("same", *NOW.causes)])
    assert similar_incidents(NOW, past) == ()


def test_incidents_without_causes_are_like_nothing() -> None:
    assert similar_incidents(alert("now"), [alert("bare"), NOW]) == ()


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0.0, 1.0)), max_size=4), max_size=6))
def test_likeness_is_between_nothing_and_the_same_and_in_order(pictures: list[list[tuple[str, float]]]) -> None:
    past = [
        alert(str(index), *(cause(signal, share) for signal, share in picture))
        for index, picture in enumerate(pictures)
    ]
    found = similar_incidents(NOW, past, most=10, at_least=0.0)
    assert all(0.0 <= one.likeness <= 1.0 for one in found)
    assert [one.likeness for one in found] == sorted((one.likeness for one in found), reverse=True)
    assert len(found) == len(past)
