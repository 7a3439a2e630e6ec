"""What a fleet of recorded machines knows of what is normal: the priors of a bundle, and the relation of its signals.

    1  each machine alone          what values it met, how its signals move together   (its memory, the relation)
    2  the same                    how far it left that relation                       (memory of deviations)
    3  against the others' memory  how novel it would have been to them                (the priors' tails)

The steps are those of `plantwatch.bundle.learn`; here they take any machine's readings, and only those that are normal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from models.history import InvalidHistory, Series
from plantwatch import native
from plantwatch.bundle.learn import ROWS_MIN
from plantwatch.detectors.base import Detector, State
from plantwatch.detectors.fleet import Newcomer, Tail, merged, with_tail
from plantwatch.detectors.prior import FleetKnowledge, Prior
from plantwatch.detectors.relation import RELATED_MAX, Relation, ShortMeans
from plantwatch.detectors.relation_fit import MachineMoments
from plantwatch.detectors.relation_fit import fit as fit_relation
from plantwatch.quality import SensorQuality
from plantwatch.telemetry import Reading
from plantwatch.watch_config import WatchConfig

IsNormal = Callable[[Reading], bool]
"""Whether a reading may be learnt from."""


@dataclass(frozen=True)
class _Met:
    """One machine: its normal readings, what its detectors remember of them, and how its signals moved together."""

    normal: Series
    memories: Mapping[str, State]
    moments: MachineMoments | None


def fit(series: Sequence[Series], is_normal: IsNormal, config: WatchConfig) -> FleetKnowledge:
    """All that helps a new machine. InvalidHistory for a machine with too few normal readings, or none of whose signals
    varies."""
    fleet = [_meet(_only(one, is_normal), config) for one in series]
    relation = _relation(fleet, config)
    if relation is None:
        return FleetKnowledge(_priors(fleet, config))
    deviations = _priors([_meet(_deviations(one.normal, relation), config) for one in fleet], config)
    watched = relation.watching(deviations)
    return FleetKnowledge(_priors(fleet, config), watched, deviations if watched else {})


def _only(series: Series, is_normal: IsNormal) -> Series:
    return replace(series, read=lambda: (reading for reading in series.read() if is_normal(reading)))


def _deviations(normal: Series, relation: Relation) -> Series:
    """The same machine by what its signals deviate from what the others say, as signals of their own."""

    def read() -> Iterator[Reading]:
        means = ShortMeans(relation.signals, relation.mean_s)
        for reading in normal.read():
            if means.step(reading.signals, reading.observed_at):
                deviations = relation.deviations(means.values)
                yield reading._replace(signals=dict(zip(relation.targets, deviations, strict=True)))

    return replace(normal, read=read)


def _relation(fleet: Sequence[_Met], config: WatchConfig) -> Relation | None:
    """Of machines that all have the same signals. Known states would have one each, which nothing learns."""
    moments = [met.moments for met in fleet if met.moments is not None]
    if config.states.rules or len({known.signals for known in moments}) != 1 or len(moments) < len(fleet):
        return None
    return fit_relation(moments)


def _meet(normal: Series, config: WatchConfig) -> _Met:
    """What a sensor's checks withhold from a detector is not learnt here either."""
    sensors: dict[str, tuple[SensorQuality, Detector]] = {}
    moments: MachineMoments | None = None
    rows = 0
    for reading in normal.read():
        rows += 1
        if rows == 1 and 2 <= len(reading.signals) <= RELATED_MAX:
            moments = MachineMoments(sorted(reading.signals))
        if moments is not None:
            moments.step(reading.signals, reading.observed_at)
        for signal, value in reading.signals.items():
            if signal not in sensors:
                sensors[signal] = SensorQuality(signal, config.quality), native.novelty(config.detector)
            quality, detector = sensors[signal]
            if quality.check(value, reading.observed_at):
                detector.step(value)
    if rows < ROWS_MIN:
        raise InvalidHistory(
            f"{normal.source}: {rows} normal readings to learn from (the first two thirds); {ROWS_MIN} are needed"
        )
    memories = {signal: detector.state() for signal, (_, detector) in sensors.items() if not detector.warming_up}
    if not memories:
        raise InvalidHistory(f"{normal.source}: no signal varies in its {rows} readings: nothing can be learnt")
    return _Met(normal, memories, moments)


def _priors(fleet: Sequence[_Met], config: WatchConfig) -> dict[str, Prior]:
    """Of every signal of which the fleet knows something that helps."""
    tails = [
        _tails(met.normal, _merge([*fleet[:place], *fleet[place + 1 :]]), config) for place, met in enumerate(fleet)
    ]
    priors = {}
    for signal, prior in _merge(fleet).items():
        fitted = with_tail(prior, [tail[signal] for tail in tails if signal in tail], config.detector.tail_memory)
        if fitted is not None:
            priors[signal] = fitted
    return priors


def _tails(normal: Series, others: Mapping[str, Prior], config: WatchConfig) -> dict[str, Tail]:
    """How novel this machine would have been to the others; nothing in a fleet of one."""
    trials = {
        signal: (SensorQuality(signal, config.quality), Newcomer(prior, config.detector))
        for signal, prior in others.items()
    }
    for reading in normal.read() if trials else ():
        for signal, value in reading.signals.items():
            trial = trials.get(signal)
            if trial and trial[0].check(value, reading.observed_at):
                trial[1].step(value)
    return {signal: newcomer.tail for signal, (_, newcomer) in trials.items() if newcomer.tail.readings}


def _merge(fleet: Sequence[_Met]) -> dict[str, Prior]:
    signals = sorted({signal for met in fleet for signal in met.memories})
    priors = {signal: merged(met.memories[signal] for met in fleet if signal in met.memories) for signal in signals}
    return {signal: prior for signal, prior in priors.items() if prior is not None}
