"""What a fleet of recorded machines knows of its signals: the priors of a bundle, learnt from what was normal.

Two passes over the data: each machine's own memory, then each machine held against the memory of the others, as if it
were new to them (`plantwatch.detectors.fleet`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from models.history import InvalidHistory, Series
from plantwatch.bundle.learn import ROWS_MIN
from plantwatch.detectors.base import State
from plantwatch.detectors.fleet import Newcomer, Tail, merged, with_tail
from plantwatch.detectors.novelty import Novelty
from plantwatch.detectors.prior import Prior
from plantwatch.quality import SensorQuality
from plantwatch.telemetry import Reading
from plantwatch.watch_config import WatchConfig

IsNormal = Callable[[Reading], bool]
"""Whether a reading may be learnt from."""


def fit(series: Sequence[Series], is_normal: IsNormal, config: WatchConfig) -> dict[str, Prior]:
    """The priors of every signal of which the fleet knows something that helps a new machine.

    InvalidHistory for a machine with too few normal readings, or none of whose signals varies.
    """
    memories = [_memories(one, is_normal, config) for one in series]
    tails = [
        _tails(one, is_normal, config, _merge([*memories[:place], *memories[place + 1 :]]))
        for place, one in enumerate(series)
    ]
    priors = {}
    for signal, prior in _merge(memories).items():
        fitted = with_tail(prior, [tail[signal] for tail in tails if signal in tail], config.detector.tail_memory)
        if fitted is not None:
            priors[signal] = fitted
    return priors


def _memories(series: Series, is_normal: IsNormal, config: WatchConfig) -> dict[str, State]:
    sensors: dict[str, tuple[SensorQuality, Novelty]] = {}
    rows = 0
    for reading in _normal(series, is_normal):
        rows += 1
        for signal, value in reading.signals.items():
            if signal not in sensors:
                sensors[signal] = SensorQuality(signal, config.quality), Novelty(config.detector)
            quality, detector = sensors[signal]
            if quality.check(value, reading.observed_at):
                detector.step(value)
    if rows < ROWS_MIN:
        raise InvalidHistory(
            f"{series.source}: {rows} normal readings to learn from (the first two thirds); {ROWS_MIN} are needed"
        )
    memories = {signal: detector.state() for signal, (_, detector) in sensors.items() if not detector.warming_up}
    if not memories:
        raise InvalidHistory(f"{series.source}: no signal varies in its {rows} readings: nothing can be learnt")
    return memories


def _tails(series: Series, is_normal: IsNormal, config: WatchConfig, others: Mapping[str, Prior]) -> dict[str, Tail]:
    """How novel this machine would have been to the others; nothing in a fleet of one."""
    trials = {
        signal: (SensorQuality(signal, config.quality), Newcomer(prior, config.detector))
        for signal, prior in others.items()
    }
    for reading in _normal(series, is_normal) if trials else ():
        for signal, value in reading.signals.items():
            trial = trials.get(signal)
            if trial and trial[0].check(value, reading.observed_at):
                trial[1].step(value)
    return {signal: newcomer.tail for signal, (_, newcomer) in trials.items() if newcomer.tail.readings}


def _merge(memories: Sequence[Mapping[str, State]]) -> dict[str, Prior]:
    signals = sorted({signal for known in memories for signal in known})
    priors = {signal: merged(known[signal] for known in memories if signal in known) for signal in signals}
    return {signal: prior for signal, prior in priors.items() if prior is not None}


def _normal(series: Series, is_normal: IsNormal) -> Iterator[Reading]:
    return (reading for reading in series.read() if is_normal(reading))
