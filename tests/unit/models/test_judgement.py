"""What is known of alerts, and the figures that follow: each is worked out by hand here."""

from __future__ import annotations

from typing import Any

import pytest

from models.intervals import Interval
from models.judgement import Judged, Knowledge, knowledge, resolved, score
from models.labels import Label, LabelVerdict
from models.replay import Extent, Found
from models.shadow import difference
from models.thresholds import alert_count
from plantwatch.incident import Kind


def found(first_seen: int, opened_at: int, ended_at: int, **more: Any) -> Found:
    fields: dict[str, Any] = {"device": "fan", "kind": Kind.PROCESS_ANOMALY, "incident_id": f"{first_seen:016x}"}
    return Found(
        **{
            **fields,
            "first_seen": first_seen,
            "opened_at": opened_at,
            "ended_at": ended_at,
            "is_over": True,
            "severity": "low",
            "score": 0.9,
            "signals": ("flow",),
            **more,
        }
    )


EXTENT = Extent("fan", "fan.csv", 1000, 0, 0, 1_000_000)


def test_an_alert_is_right_where_its_evidence_shares_time_with_a_fault() -> None:
    known = Knowledge(faults=(Interval(100, 200),), complete=True)
    assert known.judge(found(90, 110, 300)) is Judged.TRUE
    assert known.judge(found(190, 230, 300)) is Judged.TRUE
    assert known.judge(found(10, 90, 300)) is Judged.FALSE
    assert known.judge(found(201, 230, 300)) is Judged.FALSE


def test_without_a_complete_truth_only_what_people_said_is_judged() -> None:
    known = Knowledge(false=(Interval(100, 200),), expected=(Interval(400, 500),))
    assert known.judge(found(150, 160, 170)) is Judged.FALSE
    assert known.judge(found(450, 460, 470)) is Judged.EXPECTED
    assert known.judge(found(300, 310, 320)) is Judged.UNKNOWN


def test_scores_stand_beside_what_chance_gives() -> None:
    known = {"fan": Knowledge(faults=(Interval(100_000, 200_000), Interval(600_000, 700_000)), complete=True)}
    alerts = [found(110_000, 120_000, 220_000), found(300_000, 310_000, 330_000)]
    result = score(alerts, known, [EXTENT])
    assert (result.event_recall, result.event_precision) == (0.5, 0.5)
    assert result.range_recall == pytest.approx((0.8 + 0.0) / 2)
    assert result.range_precision == pytest.approx((0.8 + 0.0) / 2)
    assert result.median_delay_s == 20.0
    assert result.chance_precision == pytest.approx(0.2)
    assert result.as_json()["chance"]["always_in_alarm"] == {"recall": 1.0, "precision": 0.2, "f1": 0.3333}


def test_expected_alerts_count_for_nothing() -> None:
    known = {"fan": Knowledge(expected=(Interval(0, 1_000_000),), complete=True)}
    alerts = [found(110_000, 120_000, 220_000)]
    assert score(alerts, known, [EXTENT]).event_precision is None
    assert alert_count(40.0, alerts, known, [EXTENT]).alerts == 0


def test_a_fault_outside_the_watched_time_is_nobodys_miss() -> None:
    known = {"fan": Knowledge(faults=(Interval(2_000_000, 3_000_000),))}
    assert score([], known, [EXTENT]).detections == ()


def test_alerts_are_counted_per_machine_and_day() -> None:
    days = [EXTENT._replace(last=86_400_000), EXTENT._replace(device="pump", last=3 * 86_400_000)]
    known = {"fan": Knowledge(complete=True), "pump": Knowledge()}
    sensor = found(1, 2, 3, kind=Kind.SENSOR_FAULT)
    count = alert_count(40.0, [found(1, 2, 3), found(1, 2, 3, device="pump"), sensor], known, days)
    assert (count.alerts, count.per_machine_day, count.wrong) == (2, 0.5, 1)


def test_a_label_that_names_an_incident_gets_its_stretch_where_it_occurs() -> None:
    named = Label("fan", LabelVerdict.FALSE, "mk", 0, None, incident=f"{100:016x}")
    other = named._replace(device="pump")
    late = named._replace(stretch=Interval(2_000, 3_000))
    watched = {"fan": Interval(0, 1_000), "pump": Interval(0, 1_000)}
    known, unused = resolved([named, other, late], [found(100, 150, 300)], watched)
    assert [label.stretch for label in known] == [Interval(100, 300)]
    assert unused == [other, late]
    assert knowledge([], known) == {}


def test_a_shadow_run_pairs_incidents_that_share_time() -> None:
    new = [found(100, 150, 200), found(500, 510, 520), found(100, 150, 200, device="pump")]
    old = [found(190, 195, 300), found(700, 710, 720), found(100, 160, 200, kind=Kind.SENSOR_FAULT)]
    change = difference(new, old)
    assert [(pair.new.first_seen, pair.old.first_seen, pair.later_s) for pair in change.both] == [(100, 190, -0.045)]
    assert change.only_new == (new[1], new[2])
    assert change.only_old == (old[2], old[1])


def test_an_incident_is_paired_once() -> None:
    change = difference([found(100, 150, 900)], [found(100, 150, 200), found(300, 350, 400)])
    assert (len(change.both), len(change.only_new), len(change.only_old)) == (1, 0, 1)
