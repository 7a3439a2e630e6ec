"""From surprise to alert: evidence adds up, one fault becomes one alert, and calm has to last before it clears.

Evidence is a CUSUM of surprise (Page, Biometrika 1954): every reading adds its surprise less an allowance, and the sum
never falls below 0. The limits follow from the false alarms that one is willing to take. Surprise is -log10 of a tail
probability, so in ordinary running P(surprise >= s) <= 10^-s. For independent readings and an allowance of 2, the
largest a with E[10^(a (surprise - 2))] <= 1, that is 1 / (1 - a) <= 100^a, is 0.98; by Wald's inequality evidence then
climbs from 0 to a limit h with a chance below 10^(-0.98 h), and false alarms are at least 10^(0.98 h) readings apart
on average (Lorden 1971; Siegmund, Sequential Analysis, 1985). Real readings are not independent: an ordinary excursion
is strange for hundreds of readings in a row. That is what the allowance is for: only readings of a kind that is met
less than once in a hundred count at all; and a limit of 40, absurd for independent readings, asks that they last. What
remains of false alarms is measured, by simulation and on recorded series, rather than derived.

    stage      evidence reaches the limit   evidence is 0        evidence is 0 for clear_after_s
    WATCHING   OPEN, "opened"               WATCHING             WATCHING
    OPEN       OPEN                         OPEN, calm begins    WATCHING, "cleared"
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from plantwatch.incident import Phase, Severity
from plantwatch.telemetry import EpochMs


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """When an incident opens and clears. Surprise and evidence are in powers of ten (see `detectors.base`)."""

    allowance: float = 2.0
    """What every reading must exceed to add evidence: the strangest hundredth of ordinary readings."""
    reading_max: float = 10.0
    """The most that one reading counts (before the allowance): a glitch is no incident, however absurd. With 10 a
    glitch of up to four readings is none; with 6 (up to nine) a sudden fault took twice as long to be told, and nothing
    else changed: the same alerts on recorded series, no more false ones (docs/decisions/0010-detector.md)."""
    open_at: float = 40.0
    """Evidence that opens an incident: 5 readings of the strangest kind, 1 s at 5 readings/s."""
    evidence_max: float = 60.0
    """Where evidence stops growing, so that the calm after a long incident is not spent on paying it back."""
    clear_after_s: float = 60.0
    """How long evidence must stay at 0 before an open incident clears: a fault that comes and goes is one alert."""
    medium_at: float = 4.0
    """Largest surprise since the incident began that makes it worth a look today: once in ten thousand readings."""
    high_at: float = 8.0
    """The same for a look now: once in a hundred million readings."""

    def __post_init__(self) -> None:
        problems = []
        if not 0 < self.allowance < self.reading_max:
            problems.append(f"allowance {self.allowance} is not between 0 and reading_max {self.reading_max}")
        if not 0 < self.open_at <= self.evidence_max:
            problems.append(f"open_at {self.open_at} is not between 0 and evidence_max {self.evidence_max}")
        if not self.clear_after_s >= 0:
            problems.append(f"clear_after_s {self.clear_after_s} is negative")
        if not 0 <= self.medium_at <= self.high_at:
            problems.append(f"medium_at {self.medium_at} is not between 0 and high_at {self.high_at}")
        if problems:
            raise ValueError("; ".join(problems))


class AlertState(NamedTuple):
    """What must be known of the past to decide about the next reading."""

    evidence: float = 0.0
    first_seen: EpochMs = 0
    """When the present evidence (or the open incident) began; meaningless while there is neither."""
    peak: float = 0.0
    """The largest surprise since then."""
    is_open: bool = False
    calm_since: EpochMs | None = None
    """Since when an open incident has had no evidence."""


WATCHING: Final = AlertState()


class _Stage(StrEnum):
    WATCHING = "watching"
    OPEN = "open"


class _Finding(StrEnum):
    """What the evidence says after a reading."""

    ENOUGH = "enough"
    SOME = "some"
    NONE = "none"
    CALM = "calm"


_LIFE_CYCLE: Final[dict[tuple[_Stage, _Finding], tuple[_Stage, Phase | None]]] = {
    (_Stage.WATCHING, _Finding.ENOUGH): (_Stage.OPEN, Phase.OPENED),
    (_Stage.WATCHING, _Finding.SOME): (_Stage.WATCHING, None),
    (_Stage.WATCHING, _Finding.NONE): (_Stage.WATCHING, None),
    (_Stage.WATCHING, _Finding.CALM): (_Stage.WATCHING, None),
    (_Stage.OPEN, _Finding.ENOUGH): (_Stage.OPEN, None),
    (_Stage.OPEN, _Finding.SOME): (_Stage.OPEN, None),
    (_Stage.OPEN, _Finding.NONE): (_Stage.OPEN, None),
    (_Stage.OPEN, _Finding.CALM): (_Stage.WATCHING, Phase.CLEARED),
}


def decide(policy: AlertPolicy, state: AlertState, surprise: float, at: EpochMs) -> tuple[AlertState, Phase | None]:
    """The state after a reading of this surprise, and which way the incident turned with it.

    `at` is the reading's observed time and never runs backwards. Where the phase is CLEARED, the incident that cleared
    is the one of the state given. Pure: the same readings give the same incidents wherever they are replayed.
    """
    evidence = state.evidence + min(surprise, policy.reading_max) - policy.allowance
    evidence = min(max(evidence, 0.0), policy.evidence_max)
    calm_since = None
    if state.is_open and evidence == 0.0:
        calm_since = at if state.calm_since is None else state.calm_since
    finding = _finding(policy, evidence, calm_since, at)
    stage, phase = _LIFE_CYCLE[_Stage.OPEN if state.is_open else _Stage.WATCHING, finding]
    if stage is _Stage.WATCHING and evidence == 0.0:
        return WATCHING, phase
    begins = state.evidence == 0.0 and not state.is_open
    first_seen = at if begins else state.first_seen
    peak = surprise if begins else max(state.peak, surprise)
    return AlertState(evidence, first_seen, peak, stage is _Stage.OPEN, calm_since), phase


def severity(policy: AlertPolicy, state: AlertState) -> Severity:
    """How soon somebody should look, by the strangest reading so far."""
    if state.peak >= policy.high_at:
        return Severity.HIGH
    return Severity.MEDIUM if state.peak >= policy.medium_at else Severity.LOW


def _finding(policy: AlertPolicy, evidence: float, calm_since: EpochMs | None, at: EpochMs) -> _Finding:
    if evidence >= policy.open_at:
        return _Finding.ENOUGH
    if evidence > 0.0:
        return _Finding.SOME
    if calm_since is not None and at - calm_since >= policy.clear_after_s * 1000:
        return _Finding.CALM
    return _Finding.NONE
