"""Hold the incidents of a replay against what is known to have been wrong.

Known is what a column of labels says, and what operators said later. An alert is right where the evidence that it rests
on shares time with a fault. Two views, each beside what chance gives:

    events   found faults / all faults (recall), right alerts / judged alerts (precision); and how late each was found
    ranges   shares of time: of each fault that is in alarm (recall), of each alarm that is fault (precision), averaged
             over faults and alarms (Tatbul et al., NeurIPS 2018, with a flat bias and no reward for existence)

By chance, alerts at random times are right as often as there are faults (the labelled share of time), and an alarm that
never ends has recall 1 and that share as precision.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from models.history import Series
from models.intervals import Interval, merged
from models.labels import Label, LabelVerdict
from models.replay import Extent, Found
from plantwatch.maintenance import MaintenanceWindow
from plantwatch.telemetry import isoformat


class Judged(StrEnum):
    """What is known of an alert; closed."""

    TRUE = "true"
    FALSE = "false"
    EXPECTED = "expected"
    UNKNOWN = "unknown"


class Knowledge(NamedTuple):
    """What is known of one machine. `complete`: whatever is no fault is known to be none."""

    faults: tuple[Interval, ...] = ()
    false: tuple[Interval, ...] = ()
    expected: tuple[Interval, ...] = ()
    complete: bool = False

    def judge(self, found: Found) -> Judged:
        """Expected times judge nothing; of the rest, a fault outweighs a false alarm."""
        evidence = found.evidence
        if any(evidence.overlaps(one) for one in self.expected):
            return Judged.EXPECTED
        if any(evidence.overlaps(one) for one in self.faults):
            return Judged.TRUE
        if self.complete or any(evidence.overlaps(one) for one in self.false):
            return Judged.FALSE
        return Judged.UNKNOWN


def knowledge(series: Iterable[Series], labels: Iterable[Label]) -> dict[str, Knowledge]:
    """By device, from columns of labels and from operators' labels whose stretch is known."""
    said: dict[str, dict[LabelVerdict, list[Interval]]] = {}
    for label in labels:
        if label.stretch is not None:
            said.setdefault(label.device, {}).setdefault(label.verdict, []).append(label.stretch)
    known = {}
    for one in series:
        mine = said.get(one.device, {})
        known[one.device] = Knowledge(
            merged([*(one.faults or ()), *mine.get(LabelVerdict.TRUE, ())]),
            merged(mine.get(LabelVerdict.FALSE, ())),
            merged(mine.get(LabelVerdict.EXPECTED, ())),
            complete=one.faults is not None,
        )
    return known


def resolved(
    labels: Iterable[Label], found: Iterable[Found], watched: Mapping[str, Interval]
) -> tuple[list[Label], list[Label]]:
    """Labels with the stretches of the incidents that they name; and those that have nothing to say here: of a machine
    or a time that was not `watched`, or of an incident that did not occur."""
    stretches = {(one.device, one.incident_id): one.stretch for one in found}
    known: list[Label] = []
    unused: list[Label] = []
    for label in labels:
        stretch = label.stretch or stretches.get((label.device, label.incident))
        here = watched.get(label.device)
        is_used = stretch is not None and here is not None and stretch.overlaps(here)
        (known if is_used else unused).append(label._replace(stretch=stretch))
    return known, unused


def planned(windows: Iterable[MaintenanceWindow], series: Iterable[Series]) -> list[Label]:
    """A calendar's windows as what it says of each machine: expected."""
    series = list(series)
    return [
        Label(
            one.device,
            LabelVerdict.EXPECTED,
            "calendar",
            window.begins_at,
            Interval(window.begins_at, window.ends_at - 1),
            comment=window.name,
        )
        for window in windows
        for one in series
        if fnmatchcase(one.device, window.devices)
    ]


class Detection(NamedTuple):
    """One fault, and how long it took until an alert; None where none came."""

    device: str
    fault: Interval
    delay_s: float | None

    def as_json(self) -> dict[str, Any]:
        ends = {"first": isoformat(self.fault.first), "last": isoformat(self.fault.last)}
        return {"device": self.device, **ends, "delay_s": self.delay_s}


class Scores(NamedTuple):
    """Figures between 0 and 1, and delays in seconds; None where nothing was there to be measured."""

    detections: tuple[Detection, ...]
    judged: Mapping[Judged, int]
    event_recall: float | None
    event_precision: float | None
    range_recall: float | None
    range_precision: float | None
    median_delay_s: float | None
    chance_precision: float
    """The share of time that is labelled as fault."""

    def as_json(self) -> dict[str, Any]:
        precision, recall = self.chance_precision, 1.0
        return {
            "faults": [one.as_json() for one in self.detections],
            "alerts": {str(verdict): count for verdict, count in self.judged.items()},
            "event": _figures(self.event_recall, self.event_precision),
            "range": _figures(self.range_recall, self.range_precision),
            "median_delay_s": self.median_delay_s,
            "chance": {
                "precision_of_random_alerts": round(precision, 4),
                "always_in_alarm": _figures(recall, precision),
            },
        }


def score(found: Sequence[Found], known: Mapping[str, Knowledge], extents: Sequence[Extent]) -> Scores:
    """All figures of one replay."""
    detections = tuple(_detections(found, known, extents))
    judged = dict.fromkeys(Judged, 0)
    alarms = []
    for one in found:
        verdict = known.get(one.device, Knowledge()).judge(one)
        judged[verdict] += 1
        if verdict in (Judged.TRUE, Judged.FALSE):
            alarms.append(one)
    delays = [one.delay_s for one in detections if one.delay_s is not None]
    right, wrong = judged[Judged.TRUE], judged[Judged.FALSE]
    return Scores(
        detections,
        judged,
        len(delays) / len(detections) if detections else None,
        right / (right + wrong) if right + wrong else None,
        _mean(_share(one.fault, [a.alarm for a in alarms if a.device == one.device]) for one in detections),
        _mean(_share(one.alarm, known[one.device].faults) for one in alarms if one.device in known),
        statistics.median(delays) if delays else None,
        _labelled_share(known, extents),
    )


def _detections(
    found: Sequence[Found], known: Mapping[str, Knowledge], extents: Sequence[Extent]
) -> Iterable[Detection]:
    for extent in extents:
        for fault in known[extent.device].faults:
            # Faults of another time than the one that was watched could not be found.
            if not fault.overlaps(extent.time):
                continue
            opened = [one.opened_at for one in found if one.device == extent.device and one.evidence.overlaps(fault)]
            yield Detection(extent.device, fault, max(0, min(opened) - fault.first) / 1000 if opened else None)


def _share(whole: Interval, parts: Iterable[Interval]) -> float:
    """The part of `whole` that is covered; an instant is covered or not."""
    parts = merged(parts)
    if not whole.length_ms:
        return float(any(whole.overlaps(part) for part in parts))
    return sum(whole.shared_ms(part) for part in parts) / whole.length_ms


def _labelled_share(known: Mapping[str, Knowledge], extents: Sequence[Extent]) -> float:
    total = sum(extent.last - extent.first for extent in extents)
    watched = [(extent.time, known[extent.device].faults) for extent in extents]
    return sum(whole.shared_ms(fault) for whole, faults in watched for fault in faults) / total if total else 0.0


def _mean(shares: Iterable[float]) -> float | None:
    shares = list(shares)
    return sum(shares) / len(shares) if shares else None


def _figures(recall: float | None, precision: float | None) -> dict[str, float | None]:
    f1 = None
    if recall is not None and precision is not None:
        f1 = 2 * recall * precision / (recall + precision) if recall + precision else 0.0
    return {name: None if figure is None else round(figure, 4) for name, figure in
            (("recall", recall), ("precision", precision), ("f1", f1))}  # fmt: skip
