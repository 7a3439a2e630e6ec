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
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from plantwatch.bundle.model import Bundle, Calibration, Training
from plantwatch.bundle.recorded import ROWS_MIN, Met, deviations, meet, priors_of, relation_of, tails_of
from plantwatch.csvfile import BadRow, Row, read_rows
from plantwatch.detectors.fleet import Tail
from plantwatch.detectors.prior import FleetKnowledge, Prior
from plantwatch.detectors.relation import Relation
from plantwatch.incident import Kind, Phase
from plantwatch.machine import Machines
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Reading
from plantwatch.watch_config import WatchConfig

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
    """One machine's file: what the first pass found, and the tails of the third. With a relation it is the same machine
    by its deviations."""

    path: Path
    now: EpochMs
    relation: Relation | None = None
    met: Met = field(default_factory=Met)
    tails: dict[str, Tail] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Row]:
        """The rows in order of time. Untrainable at the first that is none, or InvalidFile."""
        return deviations(self._rows(), self.relation) if self.relation else self._rows()

    def _rows(self) -> Iterator[Row]:
        last = None
        for row in read_rows(self.path, received_at=self.now):
            if isinstance(row, BadRow):
                raise Untrainable(f"{self.path}: line {row.number}: {row.reason}: {row.detail}")
            if last is not None and row.observed_at < last:
                raise Untrainable(f"{self.path}: line {row.number}: its time is before that of the row above")
            last = row.observed_at
            yield row


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
            # Their memory alone: what is known of them as newcomers so far would depend on the order of names.
            memory = priors_of([other.met for other in fleet if other is not recording], (), config)
            _try_as_newcomer(recording, memory, config, report)
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
    """The first pass."""
    met = recording.met = meet(_told(recording, report), config, relates=recording.relation is None)
    if met.rows < ROWS_MIN:
        raise Untrainable(f"{recording.path}: {met.rows} rows; at least {ROWS_MIN} are needed to learn from")
    if not met.memories:
        raise Untrainable(f"{recording.path}: no signal varies in its {met.rows} rows: nothing can be learnt")


def _relate(recordings: Sequence[_Recording], config: WatchConfig, report: Report) -> list[_Recording]:
    """The fleet's machines by their deviations, each with its memory of them; none where there is no relation."""
    relation = relation_of([recording.met for recording in recordings], config)
    if relation is None:
        return []
    related = [_Recording(recording.path, recording.now, relation) for recording in recordings]
    for recording in related:
        _meet(recording, config, report)
    return related


def _knowledge(recordings: Sequence[_Recording], related: Sequence[_Recording], config: WatchConfig) -> FleetKnowledge:
    """What these recordings tell a newcomer."""
    deviating = _priors(related, config)
    relation = related[0].relation.watching(deviating) if related and related[0].relation else None
    return FleetKnowledge(_priors(recordings, config), relation, deviating if relation else {})


def _try_as_newcomer(recording: _Recording, others: Mapping[str, Prior], config: WatchConfig, report: Report) -> None:
    """The third pass; nothing to do in a fleet of one."""
    if others:
        met = {signal: prior for signal, prior in others.items() if signal in recording.met.memories}
        recording.tails = tails_of(_told(recording, report), met, config)


def _priors(recordings: Sequence[_Recording], config: WatchConfig) -> dict[str, Prior]:
    return priors_of([recording.met for recording in recordings], [recording.tails for recording in recordings], config)


def _calibrate(
    recordings: Sequence[_Recording], related: Sequence[_Recording], config: WatchConfig, report: Report
) -> Calibration:
    """The last pass."""
    scores: Counter[float] = Counter()
    alerts, spent_ms = 0, 0
    for recording in recordings:
        others = [other for other in recordings if other is not recording]
        their_deviations = [other for other in related if other.path != recording.path]
        machines = Machines(config, knowledge=_knowledge(others, their_deviations, config))
        for row in _told(recording, report):
            scored = machines.watch(_reading(recording, row))
            scores[round(scored.score, _SCORE_DIGITS)] += 1
            alerts += _opened(scored)
        spent_ms += recording.met.last - recording.met.first
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
        rows=sum(recording.met.rows for recording in recordings),
        machines=len(recordings),
        first=min(recording.met.first for recording in recordings),
        last=max(recording.met.last for recording in recordings),
        sources=tuple(recording.path.name for recording in recordings),
    )


def _file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _told(recording: _Recording, report: Report) -> Iterator[Row]:
    """The recording's rows; `report` hears of them now and then."""
    for number, row in enumerate(recording, start=1):
        yield row
        if not number % _ROWS_PER_REPORT:
            report(_ROWS_PER_REPORT)
