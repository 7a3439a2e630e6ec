"""An alert as people and programs read it: one line of plain language, and one JSON object.

pump-7: vibration 4.82 (expected 1.1 to 2.3) and temperature 71.2 (expected 55 to 64) since 10:14:33 UTC,
score 0.9998, severity high
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from plantwatch.incident import Alert, Cause, Fault, Kind, Phase
from plantwatch.telemetry import EpochMs, isoformat

ALERT_VERSION: Final = 1
# A line that a phone shows whole; the JSON names every cause.
CAUSES_IN_TEXT_MAX: Final = 3
# SNS refuses a longer subject of an e-mail, and one with anything but printable ASCII.
SUBJECT_CHARS_MAX: Final = 100

_FAULT_WORDS: Final = {
    Fault.STUCK: "stuck",
    Fault.OUT_OF_RANGE: "out of range",
    Fault.GAP: "silent",
    Fault.NOT_FINITE: "not a number",
}
_KIND_WORDS: Final = {Kind.PROCESS_ANOMALY: "process anomaly", Kind.SENSOR_FAULT: "sensor fault"}


def alert_fields(alert: Alert, *, now: EpochMs) -> dict[str, Any]:
    """The alert as a JSON object: what subscribers receive. `now` is when they receive it."""
    return {
        "version": ALERT_VERSION,
        "alert_id": alert.alert_id,
        "incident_id": alert.incident_id,
        "tenant": alert.tenant,
        "device": alert.device,
        "kind": str(alert.kind),
        "phase": str(alert.phase),
        "severity": str(alert.severity),
        "score": alert.score,
        "first_seen": isoformat(alert.first_seen),
        "observed_at": isoformat(alert.observed_at),
        "region": alert.region,
        "signals": [cause_fields(cause) for cause in _by_share(alert)],
        "first_sign": alert.first_sign and {"signal": alert.first_sign.signal, "at": isoformat(alert.first_sign.at)},
        "text": alert_text(alert, now=now),
    }


def cause_fields(cause: Cause) -> dict[str, Any]:
    """One signal's part in an incident, as JSON."""
    return {
        "signal": cause.signal,
        "share": cause.share,
        "observed": cause.observed,
        "expected_low": cause.expected_low,
        "expected_high": cause.expected_high,
        "fault": None if cause.fault is None else str(cause.fault),
    }


def alert_text(alert: Alert, *, now: EpochMs) -> str:
    """One line that says where, what, since when and how sure; times have a date where it is not the one of `now`."""
    if alert.phase is Phase.CLEARED:
        return (
            f"{alert.device}: {_KIND_WORDS[alert.kind]} cleared at {_moment(alert.observed_at, now)},"
            f" open since {_moment(alert.first_seen, now)}"
        )
    return (
        f"{alert.device}: {_causes_text(alert)} since {_moment(alert.first_seen, now)},"
        f" score {number_text(alert.score, digits=6)}, severity {alert.severity}"
    )


def alert_subject(alert: Alert) -> str:
    """The subject of an e-mail: at most 100 printable ASCII characters."""
    subject = f"[{alert.severity}] {alert.device}: {_KIND_WORDS[alert.kind]} {alert.phase} ({alert.tenant})"
    return "".join(letter if " " <= letter <= "~" else "?" for letter in subject)[:SUBJECT_CHARS_MAX]


def number_text(value: float, *, digits: int = 4) -> str:
    """4.8203 as 4.82, 1234567.0 as 1.235e+06: as many digits as a person reads."""
    return f"{value:.{digits}g}"


def _causes_text(alert: Alert) -> str:
    causes = _by_share(alert)
    named = [_cause_text(cause) for cause in causes[:CAUSES_IN_TEXT_MAX]]
    if not named:
        return _KIND_WORDS[alert.kind]
    if len(causes) > len(named):
        named.append(f"{len(causes) - len(named)} more")
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _cause_text(cause: Cause) -> str:
    words = [cause.signal]
    if cause.fault is not None:
        words.append(_FAULT_WORDS[cause.fault])
    if cause.observed is not None:
        words.append(f"at {number_text(cause.observed)}" if cause.fault else number_text(cause.observed))
    if cause.expected_low is not None and cause.expected_high is not None:
        words.append(f"(expected {number_text(cause.expected_low)} to {number_text(cause.expected_high)})")
    return " ".join(words)


def _by_share(alert: Alert) -> list[Cause]:
    return sorted(alert.causes, key=lambda cause: -cause.share)


def _moment(at: EpochMs, now: EpochMs) -> str:
    """The time of day, and the date too where it is not today's."""
    moment, today = _utc(at), _utc(now)
    return _clock(at) if moment.date() == today.date() else f"{moment:%Y-%m-%d} {_clock(at)}"


def _clock(at: EpochMs) -> str:
    return f"{_utc(at):%H:%M:%S} UTC"


def _utc(at: EpochMs) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC)
