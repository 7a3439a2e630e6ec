"""What a fleet of recorded machines knows of what is normal: the priors of a bundle, and the relation of its signals.

The passes are those of `plantwatch.bundle.recorded`, here over any machine's readings, and only those that are normal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from models.history import InvalidHistory, Series
from plantwatch.bundle.recorded import ROWS_MIN, Met, deviations, meet, priors_of, relation_of, tails_of
from plantwatch.detectors.fleet import Tail
from plantwatch.detectors.prior import FleetKnowledge, Prior
from plantwatch.detectors.relation import Relation
from plantwatch.telemetry import Reading
from plantwatch.watch_config import WatchConfig

IsNormal = Callable[[Reading], bool]
"""Whether a reading may be learnt from."""


class _Known(NamedTuple):
    """One machine: its normal readings, and what they tell of it alone."""

    normal: Series
    met: Met


def fit(series: Sequence[Series], is_normal: IsNormal, config: WatchConfig) -> FleetKnowledge:
    """All that helps a new machine. InvalidHistory for a machine with too few normal readings, or none of whose signals
    varies."""
    fleet = [_meet(_only(one, is_normal), config) for one in series]
    relation = relation_of([known.met for known in fleet], config)
    if relation is None:
        return FleetKnowledge(_priors(fleet, config))
    related = [_meet(_deviations(one.normal, relation), config, relates=False) for one in fleet]
    deviating = _priors(related, config)
    watched = relation.watching(deviating)
    return FleetKnowledge(_priors(fleet, config), watched, deviating if watched else {})


def _only(series: Series, is_normal: IsNormal) -> Series:
    return replace(series, read=lambda: (reading for reading in series.read() if is_normal(reading)))


def _deviations(normal: Series, relation: Relation) -> Series:
    def read() -> Iterator[Reading]:
        return deviations(normal.read(), relation)

    return replace(normal, read=read)


def _meet(normal: Series, config: WatchConfig, *, relates: bool = True) -> _Known:
    met = meet(normal.read(), config, relates=relates)
    if met.rows < ROWS_MIN:
        raise InvalidHistory(
            f"{normal.source}: {met.rows} normal readings to learn from (the first two thirds); {ROWS_MIN} are needed"
        )
    if not met.memories:
        raise InvalidHistory(f"{normal.source}: no signal varies in its {met.rows} readings: nothing can be learnt")
    return _Known(normal, met)


def _priors(fleet: Sequence[_Known], config: WatchConfig) -> dict[str, Prior]:
    tails = [_tails(one, [*fleet[:place], *fleet[place + 1 :]], config) for place, one in enumerate(fleet)]
    return priors_of([one.met for one in fleet], tails, config)


def _tails(one: _Known, others: Sequence[_Known], config: WatchConfig) -> Mapping[str, Tail]:
    """How novel this machine would have been to the memory of the others; nothing in a fleet of one."""
    memory = priors_of([other.met for other in others], (), config)
    found = tails_of(one.normal.read(), memory, config) if memory else {}
    return {signal: tail for signal, tail in found.items() if tail.readings}
