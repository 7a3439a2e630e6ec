"""Which threshold: as few alerts as wanted, no known fault lost, no labelled false alarm left; and why not, if not.

A known fault weighs most: no threshold is taken that loses one which another threshold finds. Then come alerts that
operators called false, then the wanted rate. A threshold below the configured one is taken only where the held-out time
is long enough to show the wanted rate at all: no alert in N machine-days says "fewer than 3 / N" (the rule of three).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from models.intervals import Interval
from plantwatch.telemetry import isoformat

_RULE_OF_THREE: Final = 3.0


class Stretch(NamedTuple):
    """A stretch of one machine's time that something is known of."""

    device: str
    time: Interval

    def __str__(self) -> str:
        return f"{self.device} {isoformat(self.time.first)[:16]} to {isoformat(self.time.last)[:16]}"


class Trial(NamedTuple):
    """What one threshold gave: alerts in held-out time, faults found, false alarms that operators labelled."""

    open_at: float
    alerts: int
    found: frozenset[Stretch]
    false: frozenset[Stretch]


class Choice(NamedTuple):
    """The trial taken, and everything that an operator should know of it, a sentence each."""

    trial: Trial
    notes: tuple[str, ...]


def choose(
    trials: Sequence[Trial],
    *,
    faults: Sequence[Stretch],
    configured: float,
    wanted_per_day: float,
    machine_days: float,
) -> Choice:
    """The smallest threshold that does everything; where none does, the one that comes nearest."""
    lowest = 0.0 if machine_days * wanted_per_day >= _RULE_OF_THREE else configured
    findable = frozenset().union(*(trial.found for trial in trials))
    allowed = [trial for trial in trials if trial.open_at >= lowest]
    # A lower threshold than configured is allowed at any time where a known fault needs it.
    if not any(trial.found == findable for trial in allowed):
        allowed = list(trials)
    rates = {trial.open_at: trial.alerts / machine_days for trial in trials}

    def rank(trial: Trial) -> tuple[float, ...]:
        too_many = max(0.0, rates[trial.open_at] - wanted_per_day)
        return len(findable - trial.found), len(trial.false), too_many, trial.open_at

    taken = min(allowed, key=rank)
    return Choice(taken, tuple(_notes(taken, trials, faults, findable, rates, wanted_per_day)))


def _notes(
    taken: Trial,
    trials: Sequence[Trial],
    faults: Sequence[Stretch],
    findable: frozenset[Stretch],
    rates: Mapping[float, float],
    wanted: float,
) -> list[str]:
    notes = [f"found at no threshold: {fault}" for fault in faults if fault not in findable]
    notes += [f"lost, since no threshold finds all: {fault}" for fault in sorted(findable - taken.found)]
    for false in sorted(taken.false):
        notes.append(f"still alerts though labelled false: {false}; {_why_not(taken, trials, false, rates, wanted)}")
    if rates[taken.open_at] > wanted:
        enough = [trial for trial in trials if rates[trial.open_at] <= wanted]
        notes.append(
            f"{rates[taken.open_at]:.3g} alerts per machine and day instead of {wanted:g}; "
            + (_price(taken, enough) if enough else "no threshold gives so few")
        )
    return notes


def _why_not(taken: Trial, trials: Sequence[Trial], false: Stretch, rates: Mapping[float, float], wanted: float) -> str:
    without = [trial for trial in trials if false not in trial.false]
    if not without:
        return "it does at every threshold"
    if any(rates[trial.open_at] <= wanted and trial.found >= taken.found for trial in without):
        return "another labelled false alarm would remain instead"
    return _price(taken, without)


def _price(taken: Trial, others: Sequence[Trial]) -> str:
    """What the smallest of the other thresholds would lose."""
    cheapest = min(others, key=lambda trial: (len(taken.found - trial.found), trial.open_at))
    lost = sorted(taken.found - cheapest.found)
    if not lost:
        return f"open_at {cheapest.open_at:g} would do, but leaves more alerts that are known to be false"
    return f"open_at {cheapest.open_at:g} would do, but loses {'; '.join(map(str, lost))}"
