"""A bundle from the recorded readings of a fleet: one CSV file a machine, read several times and never kept in memory.

    1  each machine alone            what values it met, how its signals move together   (its memory, the relation)
    2  the same                      how far it left that relation                       (memory of deviations)
    3  against the others' memory    how novel it would have been to them                (the priors' tails)
    4  watched, primed by the others what scores and alerts it would have had            (calibration)

The recordings are believed to be of machines that are well. What no machine of them could be learnt from is refused
with the file and the reason (`Untrainable`).
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plantwatch import native
from plantwatch.bundle.model import Bundle, Calibration, Training
from plantwatch.csvfile import BadRow, Row, read_rows
from plantwatch.detectors.base import Detector, State
from plantwatch.detectors.fleet import Newcomer, Tail, merged, with_tail
from plantwatch.detectors.prior import FleetKnowledge, Prior
from plantwatch.detectors.relation import RELATED_MAX, Relation, ShortMeans
from plantwatch.detectors.relation_fit import MachineMoments, fit
from plantwatch.incident import Kind, Phase
from plantwatch.machine import Machines
from plantwatch.quality import SensorQuality
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Reading
from plantwatch.watch_config import WatchConfig

# Two blocks of a grown detector: before that, nothing counts as met in the way it will later.
ROWS_MIN: Final = 1024
# The deviations' passes are left out where no signal follows the others.
PASSES: Final = 5
_QUANTILES: Final = (0.5, 0.9, 0.99, 0.999, 1.0)
_SCORE_DIGITS: Final = 4
_DAY_MS: Final = 86_400_000
_CHUNK_BYTES: Final = 1 << 20
_ROWS_PER_REPORT: Final = 10_000

Report = Callable[[int], object]
"""Told now and then how many more rows have been read."""


class Untrainable(ValueError):
    """No bundle can be learnt from the data; the message says what is wrong and where."""


@dataclass
class _Recording:
    """One machine's file: what the first pass found, and the tails of the second."""

    path: Path
    now: EpochMs
    rows: int = 0
    first: EpochMs = 0
    last: EpochMs = 0
    memories: dict[str, State] = field(default_factory=dict)
    tails: dict[str, Tail] = field(default_factory=dict)
    relates: bool = True
    moments: MachineMoments | None = None
    """How its signals move together; None where they are too many."""

    def __iter__(self) -> Iterator[Row]:
        """The rows in order of time. Untrainable at the first that is none, or InvalidFile."""
        last = None
        for row in read_rows(self.path, received_at=self.now):
            if isinstance(row, BadRow):
                raise Untrainable(f"{self.path}: line {row.number}: {row.reason}: {row.detail}")
            if last is not None and row.observed_at < last:
                raise Untrainable(f"{self.path}: line {row.number}: its time is before that of the row above")
            last = row.observed_at
            yield row


@dataclass
class _Deviations(_Recording):
    """The same machine: the targets' deviations from what the other signals say, as signals of their own."""

    relation: Relation | None = None

    def __iter__(self) -> Iterator[Row]:
        assert self.relation is not None, "deviations are from a relation"
        means = ShortMeans(self.relation.signals, self.relation.mean_s)
        for row in super().__iter__():
            if means.step(row.signals, row.observed_at):
                deviations = self.relation.deviations(means.values)
                yield row._replace(signals=dict(zip(self.relation.targets, deviations, strict=True)))


def learn(
    files: Sequence[Path],
    *,
    name: str,
    machine_type: str,
    config: WatchConfig,
    now: EpochMs,
    report: Report = lambda _: None,
) -> Bundle:
    """The bundle of a fleet. Untrainable or InvalidFile where its recordings do not allow it; ValueError for names."""
    _check_names(files)
    recordings = [_Recording(path, now) for path in sorted(files, key=lambda path: path.name)]
    Bundle(name, machine_type, config)  # a wrong name is said before an hour's work, not after
    for recording in recordings:
        _meet(recording, config, report)
    related = _relate(recordings, config, report)
    for fleet in (recordings, related):
        for recording in fleet:
            _try_as_newcomer(recording, _priors_without(recording, fleet, config), config, report)
    knowledge = _knowledge(recordings, related, config)
    calibration = _calibrate(recordings, related, config, report)
    return Bundle(
        name=name,
        machine_type=machine_type,
        config=config,
        priors=knowledge.priors,
        relation=knowledge.relation,
        deviations=knowledge.deviations,
        training=_training(recordings),
        calibration=calibration,
        expected_alerts_per_day=calibration.alerts / calibration.machine_days if calibration.machine_days else None,
        created_at=now,
    )


def _check_names(files: Sequence[Path]) -> None:
    if not files:
        raise Untrainable("no recording: name at least one CSV file")
    repeated = [name for name, times in Counter(path.name for path in files).items() if times > 1]
    if repeated:
        raise Untrainable(f"{repeated[0]}: two recordings have this name; a machine's name is its file's")


def _meet(recording: _Recording, config: WatchConfig, report: Report) -> None:
    """The first pass. What a sensor's checks withhold from the detector is not learnt here either."""
    sensors: dict[str, tuple[SensorQuality, Detector]] = {}
    for row in recording:
        recording.first = recording.first or row.observed_at
        recording.last = row.observed_at
        recording.rows += 1
        if recording.rows == 1 and recording.relates and 2 <= len(row.signals) <= RELATED_MAX:
            recording.moments = MachineMoments(sorted(row.signals))
        if recording.moments is not None:
            recording.moments.step(row.signals, row.observed_at)
        for signal, value in row.signals.items():
            quality, detector = sensors.get(signal) or sensors.setdefault(
                signal, (SensorQuality(signal, config.quality), native.novelty(config.detector))
            )
            if quality.check(value, row.observed_at):
                detector.step(value)
        _tell(recording.rows, report)
    if recording.rows < ROWS_MIN:
        raise Untrainable(f"{recording.path}: {recording.rows} rows; at least {ROWS_MIN} are needed to learn from")
    recording.memories = {
        signal: detector.state() for signal, (_, detector) in sensors.items() if not detector.warming_up
    }
    if not recording.memories:
        raise Untrainable(f"{recording.path}: no signal varies in its {recording.rows} rows: nothing can be learnt")


def _relate(recordings: Sequence[_Recording], config: WatchConfig, report: Report) -> list[_Deviations]:
    """The fleet's machines by their deviations, each with its memory of them; none where there is no relation.

    Known states have each a relation of their own, which nothing here learns.
    """
    moments = [recording.moments for recording in recordings if recording.moments is not None]
    if config.states.rules or len({known.signals for known in moments}) != 1 or len(moments) < len(recordings):
        return []
    relation = fit(moments)
    if relation is None:
        return []
    related = [_Deviations(recording.path, recording.now, relates=False, relation=relation) for recording in recordings]
    for recording in related:
        _meet(recording, config, report)
    return related


def _knowledge(recordings: Sequence[_Recording], related: Sequence[_Deviations], config: WatchConfig) -> FleetKnowledge:
    """What these recordings tell a newcomer."""
    deviations = _priors(related, config)
    relation = related[0].relation.watching(deviations) if related and related[0].relation else None
    return FleetKnowledge(_priors(recordings, config), relation, deviations if relation else {})


def _try_as_newcomer(recording: _Recording, others: Mapping[str, Prior], config: WatchConfig, report: Report) -> None:
    """The third pass; nothing to do in a fleet of one."""
    if not others:
        return
    trials = {
        signal: (SensorQuality(signal, config.quality), Newcomer(prior, config.detector))
        for signal, prior in others.items()
        if signal in recording.memories
    }
    for number, row in enumerate(recording, start=1):
        for signal, value in row.signals.items():
            trial = trials.get(signal)
            if trial and trial[0].check(value, row.observed_at):
                trial[1].step(value)
        _tell(number, report)
    recording.tails = {signal: newcomer.tail for signal, (_, newcomer) in trials.items()}


def _priors_without(left_out: _Recording, recordings: Sequence[_Recording], config: WatchConfig) -> dict[str, Prior]:
    return _priors([recording for recording in recordings if recording is not left_out], config)


def _priors(recordings: Sequence[_Recording], config: WatchConfig) -> dict[str, Prior]:
    """Of every signal of which the fleet knows something that would help a newcomer."""
    memories: dict[str, list[State]] = defaultdict(list)
    tails: dict[str, list[Tail]] = defaultdict(list)
    for recording in recordings:
        for signal, memory in recording.memories.items():
            memories[signal].append(memory)
        for signal, tail in recording.tails.items():
            tails[signal].append(tail)
    priors = {}
    for signal, known in memories.items():
        prior = merged(known)
        if prior and (prior := with_tail(prior, tails[signal], config.detector.tail_memory)):
            priors[signal] = prior
    return priors


def _calibrate(
    recordings: Sequence[_Recording], related: Sequence[_Deviations], config: WatchConfig, report: Report
) -> Calibration:
    """The last pass."""
    scores: Counter[float] = Counter()
    alerts, spent_ms = 0, 0
    for recording in recordings:
        others = [other for other in recordings if other is not recording]
        their_deviations = [other for other in related if other.path != recording.path]
        machines = Machines(config, knowledge=_knowledge(others, their_deviations, config))
        for number, row in enumerate(recording, start=1):
            scored = machines.watch(_reading(recording, row))
            scores[round(scored.score, _SCORE_DIGITS)] += 1
            alerts += _opened(scored)
            _tell(number, report)
        spent_ms += recording.last - recording.first
    readings = scores.total()
    return Calibration(readings, spent_ms / _DAY_MS, alerts, tuple(_quantiles(scores, readings)))


def _reading(recording: _Recording, row: Row) -> Reading:
    return Reading(
        "training", recording.path.stem, row.observed_at, row.observed_at, row.signals, row.attributes, row.missing
    )


def _opened(scored: ScoredReading) -> int:
    return sum(
        transition.kind is Kind.PROCESS_ANOMALY and transition.phase is Phase.OPENED
        for transition in scored.transitions
    )


def _quantiles(scores: Counter[float], readings: int) -> Iterator[tuple[float, float]]:
    """(share, the smallest score that at least this share of readings does not exceed)."""
    wanted, seen = list(_QUANTILES), 0
    for score in sorted(scores):
        seen += scores[score]
        while wanted and seen >= wanted[0] * readings:
            yield wanted.pop(0), score


def _training(recordings: Sequence[_Recording]) -> Training:
    fingerprint = hashlib.sha256()
    for recording in recordings:
        fingerprint.update(f"{recording.path.name} {_file_sha256(recording.path)}\n".encode())
    return Training(
        sha256=fingerprint.hexdigest(),
        rows=sum(recording.rows for recording in recordings),
        machines=len(recordings),
        first=min(recording.first for recording in recordings),
        last=max(recording.last for recording in recordings),
        sources=tuple(recording.path.name for recording in recordings),
    )


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _tell(rows: int, report: Report) -> None:
    if not rows % _ROWS_PER_REPORT:
        report(_ROWS_PER_REPORT)
