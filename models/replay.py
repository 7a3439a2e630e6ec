"""Watch recorded readings with the real machines, one or several bundles side by side, and list the incidents.

One pass over the data however many bundles there are: a shadow run and a table of thresholds are exact, not estimated,
because an open incident stops learning and so changes what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from models.history import DAY_MS, InvalidHistory, Series
from models.intervals import Interval
from plantwatch.bundle.model import Bundle
from plantwatch.incident import Kind, Phase, Transition, incident_id
from plantwatch.machine import Machines
from plantwatch.maintenance import Maintenance
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Reading, isoformat


class Found(NamedTuple):
    """One incident of a replay. `ended_at` is the last reading's time where it was still open."""

    device: str
    kind: Kind
    incident_id: str
    first_seen: EpochMs
    opened_at: EpochMs
    ended_at: EpochMs
    is_over: bool
    severity: str
    score: float
    signals: tuple[str, ...]

    @property
    def stretch(self) -> Interval:
        """From the first evidence to the end."""
        return Interval(self.first_seen, self.ended_at)

    @property
    def alarm(self) -> Interval:
        return Interval(self.opened_at, self.ended_at)

    @property
    def evidence(self) -> Interval:
        """What the alert rests on."""
        return Interval(self.first_seen, self.opened_at)

    def as_json(self) -> dict[str, Any]:
        fields = self._asdict()
        for name in ("first_seen", "opened_at", "ended_at"):
            fields[name] = isoformat(fields[name])
        return {**fields, "kind": str(self.kind), "signals": list(self.signals)}


class Extent(NamedTuple):
    """How much of one machine was watched."""

    device: str
    source: str
    readings: int
    repeated_times: int
    first: EpochMs
    last: EpochMs

    @property
    def time(self) -> Interval:
        return Interval(self.first, self.last)

    @property
    def days(self) -> float:
        return (self.last - self.first) / DAY_MS


Watch = Callable[[Reading], ScoredReading]
Each = Callable[[Reading, Sequence[ScoredReading]], object]
"""Told of every reading and what is said of it with each bundle."""


def replay(
    series: Sequence[Series],
    bundles: Sequence[Bundle],
    each: Each | None = None,
    maintenance: Maintenance | None = None,
) -> tuple[list[Extent], list[list[Found]]]:
    """Every reading of every series judged with every bundle: how much there was, and the incidents of each bundle."""
    found: list[list[Found]] = [[] for _ in bundles]
    extents = []
    for one in series:
        # Machines know nothing of each other, so each series has its own and memory does not grow with them.
        machines = [Machines.of(bundle, machines_max=1, maintenance=maintenance) for bundle in bundles]
        extents.append(_replay_one(one, [own.watch for own in machines], found, each))
    return extents, found


def _replay_one(series: Series, watches: Sequence[Watch], found: Sequence[list[Found]], each: Each | None) -> Extent:
    readings = repeated = 0
    first: EpochMs | None = None
    at: EpochMs = 0
    opened: list[dict[Kind, Found]] = [{} for _ in watches]
    for reading in series.read():
        readings += 1
        repeated += reading.observed_at == at
        at = reading.observed_at
        first = at if first is None else first
        scored = [watch(reading) for watch in watches]
        for place, one in enumerate(scored):
            for transition in one.transitions:
                _note(reading, transition, opened[place], found[place])
        if each is not None:
            each(reading, scored)
    if first is None:
        raise InvalidHistory(f"{series.source}: no rows below the header")
    for place, still_open in enumerate(opened):
        found[place] += [one._replace(ended_at=at) for one in still_open.values()]
    return Extent(series.device, series.source, readings, repeated, first, at)


def _note(reading: Reading, transition: Transition, opened: dict[Kind, Found], found: list[Found]) -> None:
    at, kind = reading.observed_at, transition.kind
    if transition.phase is Phase.OPENED:
        opened[kind] = Found(
            reading.device,
            kind,
            incident_id(reading.tenant, reading.device, kind, transition.first_seen),
            transition.first_seen,
            opened_at=at,
            ended_at=at,
            is_over=False,
            severity=str(transition.severity),
            score=transition.score,
            signals=tuple(cause.signal for cause in transition.causes),
        )
    else:
        one = opened.pop(kind)
        found.append(one._replace(ended_at=at, is_over=True, severity=str(transition.severity), score=transition.score))
