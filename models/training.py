"""Train a bundle: learn priors from two thirds of each machine's time, choose the threshold on the last third.

    1  survey      what there is: times, fingerprint, usual interval
    2  priors      from normal readings of the first two thirds, and from whatever operators called false alarms;
                   and how the signals move together
    3  trials      the whole history, judged with every threshold of the ladder side by side
    4  choice      by the alerts of the last third and by what is known of faults and false alarms (`models.choice`)

The bundle's expected alert count and calibration are those of the last third, judged by this very bundle: `plantwatch
backtest` of the same data shows the same alerts. The same data gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

from models.catalogue import AUTO, configuration
from models.choice import Choice, Stretch, Trial, choose
from models.history import DAY_MS, InvalidHistory, Series
from models.intervals import holds
from models.judgement import Judged, Knowledge, knowledge, planned, resolved
from models.labels import Label
from models.priors import fit
from models.replay import Found, replay
from models.thresholds import LADDER, with_threshold
from plantwatch.bundle.model import SOURCES_MAX, Bundle, Calibration, Training
from plantwatch.incident import Kind
from plantwatch.maintenance import Maintenance, MaintenanceWindow
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Reading
from plantwatch.watch_config import WatchConfig

_LEARNT_SHARE: Final = 2 / 3
_QUANTILES: Final = (0.5, 0.9, 0.99, 0.999, 1.0)
_SCORE_DIGITS: Final = 4
# Enough to know the usual interval of a machine.
_INTERVALS: Final = 1_000


@dataclass(frozen=True)
class Wish:
    """What is asked for. `config` None: an entry of the catalogue. `created_at` None: the time of the last reading."""

    name: str
    machine_type: str
    config: WatchConfig | None = None
    detector: str = AUTO
    alerts_per_day: float = 0.1
    created_at: EpochMs | None = None


class Trained(NamedTuple):
    """The bundle, why this threshold, and all that were tried."""

    bundle: Bundle
    choice: Choice
    trials: tuple[Trial, ...]
    unused: tuple[Label, ...]


class Survey(NamedTuple):
    """What one machine's readings are, before anything is learnt from them."""

    readings: int
    first: EpochMs
    last: EpochMs
    interval_s: float
    sha256: str

    @property
    def held_out_from(self) -> EpochMs:
        return self.first + round((self.last - self.first) * _LEARNT_SHARE)

    @property
    def held_out_days(self) -> float:
        return (self.last - self.held_out_from) / DAY_MS


def train(
    series: Sequence[Series], wish: Wish, labels: Sequence[Label] = (), windows: Sequence[MaintenanceWindow] = ()
) -> Trained:
    """InvalidHistory where the data does not allow it; ValueError for a name that is none.

    `windows` are known maintenance, which is left out as times are that operators call expected.
    """
    series = sorted(series, key=lambda one: one.device)
    Bundle(wish.name, wish.machine_type)  # a wrong name is said before an hour's work, not after
    surveys = {one.device: _survey(one) for one in series}
    stated = [*labels, *planned(windows, series)]
    known = knowledge(series, stated)
    config = wish.config or configuration(wish.detector, statistics.median(s.interval_s for s in surveys.values()))
    learnt = fit(series, _Normal(surveys, known), config)
    base = Bundle(
        wish.name,
        wish.machine_type,
        config,
        learnt.priors,
        _fingerprint(series, surveys, known),
        relation=learnt.relation,
        deviations=learnt.deviations,
    )
    held_out = _HeldOut(surveys, known)
    configured = config.process_policy.open_at
    ladder = sorted({configured, *LADDER})
    bundles = [with_threshold(base, open_at) for open_at in ladder]
    extents, runs = replay(series, bundles, held_out.note, _expected(known))
    watched = {extent.device: extent.time for extent in extents}
    used, unused = resolved(stated, (one for run in runs for one in run), watched)
    known = knowledge(series, used)
    trials = tuple(_trial(open_at, run, known, surveys) for open_at, run in zip(ladder, runs, strict=True))
    machine_days = sum(survey.held_out_days for survey in surveys.values())
    choice = choose(
        trials,
        faults=[Stretch(device, fault) for device, one in known.items() for fault in one.faults],
        configured=configured,
        wanted_per_day=wish.alerts_per_day,
        machine_days=machine_days,
    )
    place = trials.index(choice.trial)
    created_at = max(survey.last for survey in surveys.values()) if wish.created_at is None else wish.created_at
    bundle = replace(
        bundles[place],
        calibration=held_out.calibration(place, machine_days, choice.trial.alerts),
        expected_alerts_per_day=choice.trial.alerts / machine_days,
        created_at=created_at,
    )
    return Trained(bundle, choice, trials, tuple(label for label in unused if label in set(labels)))


class _Normal:
    """Whether a reading may be learnt from: it lies in the first two thirds and in no fault and no expected time; or
    operators called it a false alarm."""

    def __init__(self, surveys: Mapping[str, Survey], known: Mapping[str, Knowledge]) -> None:
        self._learnt_until = {device: survey.held_out_from for device, survey in surveys.items()}
        self._known = known

    def __call__(self, reading: Reading) -> bool:
        at, known = reading.observed_at, self._known[reading.device]
        if holds(known.faults, at) or holds(known.expected, at):
            return False
        return at < self._learnt_until[reading.device] or holds(known.false, at)


class _HeldOut:
    """The scores of ordinary readings in held-out time, for each bundle."""

    def __init__(self, surveys: Mapping[str, Survey], known: Mapping[str, Knowledge]) -> None:
        self._from = {device: survey.held_out_from for device, survey in surveys.items()}
        self._known = known
        self._scores: list[Counter[float]] = []

    def note(self, reading: Reading, scored: Sequence[ScoredReading]) -> None:
        at, known = reading.observed_at, self._known[reading.device]
        if at < self._from[reading.device] or holds(known.faults, at) or holds(known.expected, at):
            return
        if not self._scores:
            self._scores = [Counter() for _ in scored]
        for counter, one in zip(self._scores, scored, strict=True):
            counter[round(one.score, _SCORE_DIGITS)] += 1

    def calibration(self, place: int, machine_days: float, alerts: int) -> Calibration:
        scores = self._scores[place]
        return Calibration(scores.total(), machine_days, alerts, tuple(_quantiles(scores)))


def _quantiles(scores: Counter[float]) -> Iterator[tuple[float, float]]:
    """(share, the smallest score that at least this share of readings does not exceed)."""
    wanted, seen, readings = list(_QUANTILES), 0, scores.total()
    for score in sorted(scores):
        seen += scores[score]
        while wanted and seen >= wanted[0] * readings:
            yield wanted.pop(0), score


def _survey(series: Series) -> Survey:
    digest = hashlib.sha256()
    readings = 0
    times: list[EpochMs] = []
    first = last = 0
    for reading in series.read():
        readings += 1
        last = reading.observed_at
        first = first or last
        if len(times) < _INTERVALS:
            times.append(last)
        content = [last, dict(reading.signals), reading.missing, dict(reading.attributes)]
        digest.update(json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    if readings < 2 or last == first:
        raise InvalidHistory(f"{series.source}: {readings} rows at {'no' if not readings else 'one'} time: too short")
    interval = statistics.median(after - before for before, after in pairwise(times))
    return Survey(readings, first, last, interval / 1000, digest.hexdigest())


def _fingerprint(series: Sequence[Series], surveys: Mapping[str, Survey], known: Mapping[str, Knowledge]) -> Training:
    """Of the readings and what was known of them, not of the files: the same readings from a lake and from CSV files,
    with the same labels, are the same training."""
    digest = hashlib.sha256()
    for one in series:
        said = known[one.device]
        content = [one.device, surveys[one.device].sha256, said.faults, said.false, said.expected]
        digest.update(json.dumps(content, separators=(",", ":")).encode() + b"\n")
    return Training(
        digest.hexdigest(),
        rows=sum(survey.readings for survey in surveys.values()),
        machines=len(series),
        first=min(survey.first for survey in surveys.values()),
        last=max(survey.last for survey in surveys.values()),
        sources=tuple(one.source.rpartition("/")[2] for one in series[:SOURCES_MAX]),
    )


def _expected(known: Mapping[str, Knowledge]) -> Maintenance:
    """Expected times as maintenance: nothing of them is learnt, and no incident opens."""
    return Maintenance(
        MaintenanceWindow(time.first, time.last + 1, "expected", device)
        for device, one in sorted(known.items())
        for time in one.expected
    )


def _trial(
    open_at: float, found: Sequence[Found], known: Mapping[str, Knowledge], surveys: Mapping[str, Survey]
) -> Trial:
    process = [one for one in found if one.kind is Kind.PROCESS_ANOMALY]
    held_out = [one for one in process if one.opened_at >= surveys[one.device].held_out_from]
    alerts = sum(known[one.device].judge(one) not in (Judged.TRUE, Judged.EXPECTED) for one in held_out)
    faults, false = set(), set()
    for one in found:
        mine = known[one.device]
        faults |= {Stretch(one.device, fault) for fault in mine.faults if one.evidence.overlaps(fault)}
    for one in process:
        mine = known[one.device]
        if mine.judge(one) is Judged.FALSE:
            false |= {Stretch(one.device, time) for time in mine.false if one.evidence.overlaps(time)}
    return Trial(open_at, alerts, frozenset(faults), frozenset(false))
