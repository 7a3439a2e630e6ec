"""The same bundle with other thresholds, to be replayed side by side: how many alerts would each have given?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from models.judgement import Judged, Knowledge
from models.replay import Extent, Found
from plantwatch.bundle.model import Bundle
from plantwatch.incident import Kind

# Renard's series R5: each step is 1.6 times the one before. At 10, three readings of the strangest kind open an
# incident; at 250 it takes more than 60 of them, however absurd.
LADDER: Final = (10.0, 16.0, 25.0, 40.0, 63.0, 100.0, 160.0, 250.0)


def with_threshold(bundle: Bundle, open_at: float) -> Bundle:
    """Judges alike but for the evidence that opens an incident. Where evidence stops growing keeps its ratio to it."""
    policy = bundle.config.process_policy
    evidence_max = open_at * policy.evidence_max / policy.open_at
    policy = replace(policy, open_at=open_at, evidence_max=evidence_max)
    return replace(bundle, config=replace(bundle.config, process_policy=policy))


class AlertCount(NamedTuple):
    """What one threshold gives: process alerts, how many of them are known to be right or wrong, and faults found."""

    open_at: float
    alerts: int
    per_machine_day: float
    right: int
    wrong: int

    def as_json(self) -> dict[str, Any]:
        return {**self._asdict(), "per_machine_day": round(self.per_machine_day, 4)}


def alert_count(
    open_at: float, found: Sequence[Found], known: Mapping[str, Knowledge], extents: Sequence[Extent]
) -> AlertCount:
    """Of one replay. Sensor faults are facts and have no threshold; expected alerts are not counted."""
    judged = [known[one.device].judge(one) for one in found if one.kind is Kind.PROCESS_ANOMALY]
    alerts = sum(verdict is not Judged.EXPECTED for verdict in judged)
    days = sum(extent.days for extent in extents)
    rate = alerts / days if days else 0.0
    return AlertCount(open_at, alerts, rate, judged.count(Judged.TRUE), judged.count(Judged.FALSE))
