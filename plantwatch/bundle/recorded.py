"""What recorded machines know, whoever reads the recordings: the passes that every way of learning a bundle shares.

    meet        a machine alone               what values it met, how its signals moved together
    deviations  the same readings             how far they leave the fleet's relation, as signals of their own
    tails_of    against the others' memory    how novel the machine would have been to them
    priors_of   all of it                     what helps a new machine

A recording is gone through once for each pass and never kept. What a sensor's checks withhold from the live detector is
not learnt here either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from plantwatch import native
from plantwatch.csvfile import Row
from plantwatch.detectors.base import Detector, State
from plantwatch.detectors.fleet import Newcomer, Tail, merged, with_tail
from plantwatch.detectors.prior import Prior
from plantwatch.detectors.relation import RELATED_MAX, Relation, ShortMeans
from plantwatch.detectors.relation_fit import MachineMoments, fit
from plantwatch.quality import SensorQuality
from plantwatch.telemetry import EpochMs, Reading
from plantwatch.watch_config import WatchConfig

# Two blocks of a grown detector: before that, nothing counts as met in the way it will later.
ROWS_MIN: Final = 1024

Recorded = TypeVar("Recorded", Row, Reading)


@dataclass
class Met:
    """What is known of one machine after its own readings."""

    rows: int = 0
    first: EpochMs = 0
    last: EpochMs = 0
    memories: Mapping[str, State] = field(default_factory=dict)
    """Of the signals whose detector has left its warm-up."""
    moments: MachineMoments | None = None
    """How its signals move together; None where nobody asked, or where they are too many."""


def meet(readings: Iterable[Row | Reading], config: WatchConfig, *, relates: bool = True) -> Met:
    """Go through a machine's readings in the order of time. `relates`: find out, too, how its signals move together."""
    met = Met()
    sensors: dict[str, tuple[SensorQuality, Detector]] = {}
    for reading in readings:
        met.first = met.first or reading.observed_at
        met.last = reading.observed_at
        met.rows += 1
        if met.rows == 1 and relates and 2 <= len(reading.signals) <= RELATED_MAX:
            met.moments = MachineMoments(sorted(reading.signals))
        if met.moments is not None:
            met.moments.step(reading.signals, reading.observed_at)
        for signal, value in reading.signals.items():
            if signal not in sensors:
                sensors[signal] = SensorQuality(signal, config.quality), native.novelty(config.detector)
            quality, detector = sensors[signal]
            if quality.check(value, reading.observed_at):
                detector.step(value)
    met.memories = {signal: detector.state() for signal, (_, detector) in sensors.items() if not detector.warming_up}
    return met


def relation_of(fleet: Sequence[Met], config: WatchConfig) -> Relation | None:
    """Of machines that all have the same signals. Known states would have one each, which nothing learns."""
    moments = [met.moments for met in fleet if met.moments is not None]
    if config.states.rules or len({known.signals for known in moments}) != 1 or len(moments) < len(fleet):
        return None
    return fit(moments)


def deviations(readings: Iterable[Recorded], relation: Relation) -> Iterator[Recorded]:
    """The same machine by what its targets deviate from what the other signals say, as signals of their own."""
    means = ShortMeans(relation.signals, relation.mean_s)
    for reading in readings:
        if means.step(reading.signals, reading.observed_at):
            found = relation.deviations(means.values)
            yield reading._replace(signals=dict(zip(relation.targets, found, strict=True)))


def tails_of(readings: Iterable[Row | Reading], others: Mapping[str, Prior], config: WatchConfig) -> dict[str, Tail]:
    """How novel a machine's readings would have been to the others."""
    trials = {
        signal: (SensorQuality(signal, config.quality), Newcomer(prior, config.detector))
        for signal, prior in others.items()
    }
    for reading in readings:
        for signal, value in reading.signals.items():
            trial = trials.get(signal)
            if trial and trial[0].check(value, reading.observed_at):
                trial[1].step(value)
    return {signal: newcomer.tail for signal, (_, newcomer) in trials.items()}


def priors_of(fleet: Iterable[Met], tails: Iterable[Mapping[str, Tail]], config: WatchConfig) -> dict[str, Prior]:
    """Of every signal of which the fleet knows something that would help a newcomer; without `tails`, its memory."""
    memories: dict[str, list[State]] = defaultdict(list)
    for met in fleet:
        for signal, memory in met.memories.items():
            memories[signal].append(memory)
    novelties: dict[str, list[Tail]] = defaultdict(list)
    for found in tails:
        for signal, tail in found.items():
            novelties[signal].append(tail)
    priors = {}
    for signal, known in memories.items():
        prior = merged(known)
        if prior and (prior := with_tail(prior, novelties[signal], config.detector.tail_memory)):
            priors[signal] = prior
    return priors
