"""What people read of an alert."""

from __future__ import annotations

import json

import pytest

from plantwatch.alert_text import SUBJECT_CHARS_MAX, alert_fields, alert_subject, alert_text, number_text
from plantwatch.incident import Alert, Cause, Fault, Kind, Phase, Severity

AT = 1_732_341_273_000  # 2024-11-23T05:54:33Z
NOW = AT + 13_000
CAUSES = (Cause("temperature", 0.3, 71.2, 55.0, 64.0), Cause("vibration", 0.7, 4.8203, 1.1, 2.3))
ALERT = Alert(
    "5f0c0a1b2c3d4e5f", "acme", "pump-7", Kind.PROCESS_ANOMALY, Phase.OPENED, Severity.HIGH, 0.9998,
    AT, AT + 12_000, CAUSES, "us-east-1",
)  # fmt: skip


def test_one_line_says_where_what_since_when_and_how_sure() -> None:
    assert alert_text(ALERT, now=NOW) == (
        "pump-7: vibration 4.82 (expected 1.1 to 2.3) and temperature 71.2 (expected 55 to 64) since 05:54:33 UTC,"
        " score 0.9998, severity high"
    )


def test_a_sensor_fault_says_what_the_sensor_does() -> None:
    fault = ALERT._replace(
        kind=Kind.SENSOR_FAULT,
        severity=Severity.LOW,
        causes=(Cause("temperature", 1.0, 20.5, None, None, Fault.STUCK),),
    )
    assert (
        alert_text(fault, now=NOW) == "pump-7: temperature stuck at 20.5 since 05:54:33 UTC, score 0.9998, severity low"
    )
    gap = fault._replace(causes=(Cause("flow", 1.0, None, None, None, Fault.GAP),))
    assert alert_text(gap, now=NOW).startswith("pump-7: flow silent since")


def test_a_clearing_says_how_long_it_lasted() -> None:
    cleared = ALERT._replace(phase=Phase.CLEARED, observed_at=AT + 600_000)
    assert alert_text(cleared, now=NOW) == "pump-7: process anomaly cleared at 06:04:33 UTC, open since 05:54:33 UTC"


def test_the_date_is_named_where_it_is_not_todays() -> None:
    tomorrow = AT + 86_400_000
    assert "since 2024-11-23 05:54:33 UTC" in alert_text(ALERT, now=tomorrow)
    cleared = ALERT._replace(phase=Phase.CLEARED, observed_at=tomorrow)
    assert alert_text(cleared, now=tomorrow) == (
        "pump-7: process anomaly cleared at 05:54:33 UTC, open since 2024-11-23 05:54:33 UTC"
    )
    assert "cleared at 2024-11-24 05:54:33 UTC" in alert_text(cleared, now=tomorrow + 86_400_000)


def test_many_causes_are_named_by_the_first_three() -> None:
    causes = tuple(Cause(f"s{n}", 0.2, float(n), None, None) for n in range(5))
    assert alert_text(ALERT._replace(causes=causes), now=NOW).startswith("pump-7: s0 0, s1 1, s2 2 and 2 more since")


def test_an_alert_without_causes_is_still_a_sentence() -> None:
    assert alert_text(ALERT._replace(causes=()), now=NOW).startswith("pump-7: process anomaly since 05:54:33 UTC")


def test_the_message_carries_everything_and_is_json() -> None:
    fields = json.loads(json.dumps(alert_fields(ALERT, now=NOW), allow_nan=False))
    assert [cause["signal"] for cause in fields["signals"]] == ["vibration", "temperature"], "largest share first"
    assert fields["signals"][0] == {
        "signal": "vibration", "share": 0.7, "observed": 4.8203, "expected_low": 1.1, "expected_high": 2.3,
        "fault": None,
    }  # fmt: skip
    assert (fields["tenant"], fields["device"], fields["kind"], fields["phase"]) == (
        "acme", "pump-7", "process_anomaly", "opened",
    )  # fmt: skip
    assert (fields["severity"], fields["score"], fields["region"]) == ("high", 0.9998, "us-east-1")
    assert (fields["first_seen"], fields["observed_at"]) == ("2024-11-23T05:54:33.000Z", "2024-11-23T05:54:45.000Z")
    assert (fields["incident_id"], fields["alert_id"]) == ("5f0c0a1b2c3d4e5f", "5f0c0a1b2c3d4e5f-opened")


@pytest.mark.parametrize("device", ["pump-7", "x" * 128, "Füllstand\n1"])
def test_a_subject_is_what_sns_accepts(device: str) -> None:
    subject = alert_subject(ALERT._replace(device=device))
    assert 0 < len(subject) <= SUBJECT_CHARS_MAX
    assert subject.isascii()
    assert subject.isprintable()


@pytest.mark.parametrize(("value", "text"), [(4.8203, "4.82"), (0.0, "0"), (1234567.0, "1.235e+06"), (-0.05, "-0.05")])
def test_numbers_have_as_many_digits_as_a_person_reads(value: float, text: str) -> None:
    assert number_text(value) == text
