"""Why was there no alert? For any reading: which threshold was missed, by how much, and what suppressed it.

    before = standing(machine)
    scored = machines.watch(reading)
    answer = why_not(scored, before, standing(machine), config)
    answer.sentence   "no alert: evidence 12.3 of 40, 7 more readings like this one would open an incident"

The answer is made of reasons of a closed set, the decisive one first, each with its plain sentence and, where there is
a threshold, what was reached and what was needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from plantwatch.alert_text import number_text
from plantwatch.explain import Band
from plantwatch.incident import Fault, Kind, Phase
from plantwatch.machine import Machine
from plantwatch.maintenance import MaintenanceWindow
from plantwatch.policy import WATCHING, AlertPolicy, AlertState
from plantwatch.scoring import ScoredReading, Suppression
from plantwatch.telemetry import EpochMs, isoformat
from plantwatch.watch_config import WatchConfig

# A sentence names so many signals; the reasons hold all.
_NAMED_MAX = 3


class Reason(StrEnum):
    """What stood, or did not stand, between a reading and an alert. Closed."""

    OPENED = "opened"
    """Nothing: this reading opened an incident."""
    LATE = "late"
    MAINTENANCE = "maintenance"
    STATE = "state"
    WARMING_UP = "warming_up"
    SENSOR_FAULT = "sensor_fault"
    """A sensor's value is not believed, so that it says nothing about the process."""
    WITHHELD = "withheld"
    """A sensor repeats one value for longer than ever: it may be stuck, and its value waits for that."""
    NO_VALUE = "no_value"
    ALREADY_OPEN = "already_open"
    """An incident is open: one fault is one alert."""
    EVIDENCE = "evidence"
    """Strange enough to count, but there is not enough of it yet."""
    ALLOWANCE = "allowance"
    """A little strange, as one reading in some dozens is."""
    ORDINARY = "ordinary"


class Because(NamedTuple):
    """One reason. `reached` and `needed` where there is a threshold, in the unit that the sentence names."""

    reason: Reason
    sentence: str
    reached: float | None = None
    needed: float | None = None
    signal: str = ""

    @property
    def missed_by(self) -> float | None:
        return None if self.reached is None or self.needed is None else self.needed - self.reached


@dataclass(frozen=True, slots=True)
class SignalStanding:
    """What is known of one sensor: the band of ordinary values, and what stands against believing it."""

    expected: Band
    fault: Fault | None
    withheld: bool
    warming_up: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """A machine as it is between two readings; without arguments, one that has not been met."""

    newest: EpochMs = 0
    process: AlertState = WATCHING
    sensors: AlertState = WATCHING
    signals: Mapping[str, SignalStanding] = field(default_factory=dict)
    opened: Mapping[Kind, EpochMs] = field(default_factory=dict)
    """When what is open was opened, where somebody kept that; the machine itself knows its first sign only."""


@dataclass(frozen=True, slots=True)
class WhyNot:
    """The answer for one reading: the decisive reason comes first."""

    device: str
    observed_at: EpochMs
    score: float
    alert: bool
    because: tuple[Because, ...]

    @property
    def reason(self) -> Reason:
        return self.because[0].reason

    @property
    def sentence(self) -> str:
        """One line for people."""
        return f"{'alert' if self.alert else 'no alert'}: {self.because[0].sentence}"


def standing(machine: Machine) -> Standing:
    """The machine as it is now. Changes nothing."""
    signals = {
        name: SignalStanding(
            signal.quality.expected(signal.detector.expected()),
            signal.quality.fault,
            signal.quality.withheld,
            signal.detector.warming_up,
        )
        for name, signal in machine.signals.items()
    }
    return Standing(machine.newest, machine.incidents.process, machine.incidents.sensors, signals)


def why_not(
    scored: ScoredReading,
    before: Standing,
    after: Standing,
    config: WatchConfig,
    window: MaintenanceWindow | None = None,
) -> WhyNot:
    """Why this reading opened no incident, or which it opened. Pure.

    `before` and `after` are the machine's standing before and after it was watched with `config`; `window` the
    maintenance window that it lies in, if any.
    """
    reading = scored.reading
    opened = [turn for turn in scored.transitions if turn.phase is Phase.OPENED]
    because = (
        *(Because(Reason.OPENED, f"it opened a {_words(turn.kind)}, severity {turn.severity}") for turn in opened),
        *_suppression(scored, before, window),
        *_open_before(before, opened_now={turn.kind for turn in opened}),
        *_warm_up(scored),
        *_sensors(scored, after, config.sensor_policy, opened_now=any(t.kind is Kind.SENSOR_FAULT for t in opened)),
        *_process(scored, before, after, config.process_policy),
    )
    return WhyNot(reading.device, reading.observed_at, scored.score, bool(opened), because)


def _suppression(scored: ScoredReading, before: Standing, window: MaintenanceWindow | None) -> Iterator[Because]:
    if scored.suppression is Suppression.LATE:
        newest = isoformat(before.newest)
        yield Because(Reason.LATE, f"it came late, after that of {newest}; it is scored and decides nothing")
    elif scored.suppression is Suppression.STATE:
        yield Because(Reason.STATE, f"the machine is in the state {scored.state!r}, which is not watched")
    elif scored.suppression is Suppression.MAINTENANCE:
        until = f" {window.name!r} until {isoformat(window.ends_at)}" if window else ""
        yield Because(Reason.MAINTENANCE, f"maintenance{until}: readings are scored, and no incident opens")


def _open_before(before: Standing, opened_now: set[Kind]) -> Iterator[Because]:
    for kind, state in ((Kind.PROCESS_ANOMALY, before.process), (Kind.SENSOR_FAULT, before.sensors)):
        if state.is_open and kind not in opened_now:
            opened = before.opened.get(kind)
            since = "" if opened is None else f" since {isoformat(opened)}"
            sign = isoformat(state.first_seen)
            text = f"a {_words(kind)} is open{since}, first sign {sign}, and one fault is one alert"
            yield Because(Reason.ALREADY_OPEN, text)


def _warm_up(scored: ScoredReading) -> Iterator[Because]:
    if scored.warming_up:
        left = scored.ready_in_s
        wait = "nobody can tell for how long yet" if left is None else f"for about {left} s more"
        text = f"the machine is being learnt, {wait}"
        yield Because(Reason.WARMING_UP, text) if left is None else Because(Reason.WARMING_UP, text, 0.0, float(left))


def _sensors(scored: ScoredReading, after: Standing, policy: AlertPolicy, *, opened_now: bool) -> Iterator[Because]:
    """What is not believed, or not there, and how far that is from an incident of its own."""
    if scored.suppression in (Suppression.STATE, Suppression.LATE):
        return
    for name, value in scored.reading.signals.items():
        known = after.signals.get(name)
        if known is None:
            continue
        if known.fault is not None:
            yield Because(Reason.SENSOR_FAULT, f"{name} is not believed: {known.fault.replace('_', ' ')}", signal=name)
        elif known.withheld:
            text = f"{name} repeats {number_text(value)} for longer than ever, and waits for a verdict on its sensor"
            yield Because(Reason.WITHHELD, text, signal=name)
        elif known.warming_up and not scored.warming_up:
            yield Because(Reason.WARMING_UP, f"{name} is new and still being learnt", signal=name)
    for name in scored.reading.missing:
        yield Because(Reason.NO_VALUE, f"{name} gave no value", signal=name)
    if scored.faults and not after.sensors.is_open and not opened_now:
        evidence = after.sensors.evidence
        text = f"evidence of a sensor fault is {number_text(evidence)} of {number_text(policy.open_at)}"
        yield Because(Reason.EVIDENCE, text, evidence, policy.open_at)


def _process(scored: ScoredReading, before: Standing, after: Standing, policy: AlertPolicy) -> Iterator[Because]:
    """How far the process's evidence is from an incident."""
    if after.process.is_open or scored.suppression is Suppression.STATE:
        return
    surprise = _surprise(scored.score)
    evidence = after.process.evidence
    reached = f"evidence {number_text(evidence)} of {number_text(policy.open_at)}"
    if surprise > policy.allowance:
        # What it added says more than its score, of which six digits are kept.
        added = evidence - before.process.evidence
        each = added if added > 0.0 else min(surprise, policy.reading_max) - policy.allowance
        more = math.ceil((policy.open_at - evidence) / each)
        again = f"{more} more {'reading' if more == 1 else 'readings'} like this one would open an incident"
        yield Because(Reason.EVIDENCE, f"{reached}, {again}", evidence, policy.open_at)
        return
    if evidence > 0.0:
        yield Because(Reason.EVIDENCE, f"{reached}, and falling", evidence, policy.open_at)
    if scored.score > 0.0:
        text = (
            f"score {number_text(scored.score)}: one ordinary reading in {number_text(10.0**surprise, digits=2)} is as "
            f"strange, and only rarer ones than one in {number_text(10.0**policy.allowance)} count"
        )
        yield Because(Reason.ALLOWANCE, text, surprise, policy.allowance)
    elif not scored.warming_up:
        yield Because(Reason.ORDINARY, _ordinary(scored, after), 0.0, policy.allowance)


def _ordinary(scored: ScoredReading, after: Standing) -> str:
    """The values beside their bands."""
    named = []
    for name, value in scored.reading.signals.items():
        known = after.signals.get(name)
        if known is None or None in known.expected or known.fault is not None or known.withheld:
            continue
        low, high = (number_text(limit) for limit in known.expected if limit is not None)
        named.append(f"{name} {number_text(value)} ({low} to {high})")
    if not named:
        return "nothing that this reading says can be judged"
    more = f" and {len(named) - _NAMED_MAX} more" if len(named) > _NAMED_MAX else ""
    return f"all it says has been met before: {', '.join(named[:_NAMED_MAX])}{more}"


def _surprise(score: float) -> float:
    """As far as a score of six digits tells; there is no more in it than counts."""
    return -math.log10(max(1.0 - score, 1e-6)) if score > 0.0 else 0.0


def _words(kind: Kind) -> str:
    return kind.replace("_", " ")
