"""A bundle over history: what it would have alerted about, how right that is, and what a change would change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from models import shadow
from models.history import Series
from models.judgement import Judged, Knowledge, Scores, knowledge, resolved, score
from models.labels import Label
from models.replay import Extent, Found, replay
from models.thresholds import LADDER, AlertCount, alert_count, with_threshold
from plantwatch.bundle.model import Bundle
from plantwatch.incident import Kind
from plantwatch.maintenance import Maintenance, MaintenanceWindow
from plantwatch.telemetry import isoformat

SCHEMA: Final = "plantwatch.backtest/1"


@dataclass(frozen=True)
class Backtest:
    """Everything that was found. `old` and `change` are those of the bundle that the new one was held against."""

    bundle: Bundle
    extents: Sequence[Extent]
    found: Sequence[Found]
    known: Mapping[str, Knowledge]
    scores: Scores
    counts: Sequence[AlertCount]
    unused: Sequence[Label]
    old: Bundle | None = None
    old_scores: Scores | None = None
    change: shadow.Difference | None = None

    @property
    def machine_days(self) -> float:
        return sum(extent.days for extent in self.extents)

    @property
    def has_truth(self) -> bool:
        """Whether anything is known that alerts could be held against."""
        return any(one.complete or one.faults or one.false for one in self.known.values())

    def judged(self, found: Found) -> Judged:
        return self.known[found.device].judge(found)


def backtest(
    series: Sequence[Series],
    bundle: Bundle,
    *,
    labels: Sequence[Label] = (),
    windows: Sequence[MaintenanceWindow] = (),
    against: Bundle | None = None,
    thresholds: bool = True,
) -> Backtest:
    """One pass over `series`, with the maintenance `windows` that the runtimes would know. InvalidHistory for data that
    is none."""
    own = bundle.config.process_policy.open_at
    others = [open_at for open_at in LADDER if open_at != own] if thresholds else []
    bundles = [bundle, *(with_threshold(bundle, open_at) for open_at in others)]
    extents, runs = replay(
        series, bundles if against is None else [*bundles, against], maintenance=Maintenance(windows)
    )
    found = _in_order(runs[0])
    watched = {extent.device: extent.time for extent in extents}
    known_labels, unused = resolved(labels, (one for run in runs for one in run), watched)
    known = knowledge(series, known_labels)
    judged = sorted(zip([own, *others], runs, strict=False), key=lambda pair: pair[0])
    counts = [alert_count(open_at, run, known, extents) for open_at, run in judged]
    old = _in_order(runs[-1]) if against is not None else None
    return Backtest(
        bundle,
        extents,
        found,
        known,
        score(found, known, extents),
        counts,
        unused,
        against,
        None if old is None else score(old, known, extents),
        None if old is None else shadow.difference(found, old),
    )


def trained_on(bundle: Bundle, extents: Sequence[Extent]) -> list[str]:
    """The names of those sources that the bundle's training had too, of a time that it covered."""
    training = bundle.training
    if training is None:
        return []
    names = ((extent.source.rpartition("/")[2], extent) for extent in extents)
    return [
        name
        for name, extent in names
        if name in training.sources and extent.first <= training.last and training.first <= extent.last
    ]


def as_json(result: Backtest) -> dict[str, Any]:
    """The report: every figure of the terminal's tables, and every incident."""
    return {
        "schema": SCHEMA,
        "bundle": _name(result.bundle),
        "machine_days": round(result.machine_days, 4),
        "machines": [_machine(result, extent) for extent in result.extents],
        "incidents": [{**one.as_json(), "judged": str(result.judged(one))} for one in result.found],
        "scores": result.scores.as_json() if result.has_truth else None,
        "thresholds": [count.as_json() for count in result.counts],
        "unused_labels": [label.as_json() for label in result.unused],
        "against": None if result.change is None or result.old is None else {
            "bundle": _name(result.old),
            "scores": result.old_scores.as_json() if result.old_scores and result.has_truth else None,
            **result.change.as_json(),
        },
    }  # fmt: skip


def alerts_of(result: Backtest, device: str) -> Counter[Kind]:
    return Counter(one.kind for one in result.found if one.device == device)


def _machine(result: Backtest, extent: Extent) -> dict[str, Any]:
    alerts = alerts_of(result, extent.device)
    return {
        **extent._asdict(),
        "first": isoformat(extent.first),
        "last": isoformat(extent.last),
        "days": round(extent.days, 4),
        "alerts": {str(kind): alerts[kind] for kind in Kind},
        "alerts_per_day": round(alerts.total() / extent.days, 4) if extent.days else None,
    }


def _name(bundle: Bundle) -> dict[str, str]:
    return {"name": bundle.name, "machine_type": bundle.machine_type, "digest": bundle.digest}


def _in_order(found: Sequence[Found]) -> list[Found]:
    return sorted(found, key=lambda one: (one.device, one.opened_at))
