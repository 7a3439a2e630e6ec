"""Several signals, one verdict: the machine's surprise, and which signals it comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from plantwatch.incident import Cause, Fault

# An alert names the signals that matter; less than this is the noise of the others.
_SHARE_MIN: Final = 0.02

Band = tuple[float | None, float | None]


class Suspect(NamedTuple):
    """A signal that may have a part in an incident: how much, what it says, what it should say, its sensor's fault."""

    signal: str
    weight: float
    observed: float | None
    expected: Band
    fault: Fault | None = None


def price_of_looks(signals: int) -> float:
    """What the strangest of so many signals must be stranger, in powers of ten: somebody always is the strangest.

    Bonferroni's bound, which is Sidak's formula for small probabilities and holds for dependent signals too.
    """
    return math.log10(signals) if signals > 1 else 0.0


def shares(surprises: Sequence[tuple[str, float]]) -> tuple[tuple[str, float], ...]:
    """Each signal's part of the surprise, the largest first (then by name). A signal may be there more than once."""
    total, of = 0.0, dict.fromkeys((name for name, _ in surprises), 0.0)
    for name, surprise in surprises:
        total += surprise
        of[name] += surprise
    parts = [(name, round(surprise / total, 6)) for name, surprise in of.items()]
    return tuple(sorted(parts, key=lambda part: (-part[1], part[0])))


def causes(suspects: Iterable[Suspect]) -> tuple[Cause, ...]:
    """The signals with their part in an incident, the largest first; the shares sum to 1."""
    suspects = list(suspects)
    total = sum(suspect.weight for suspect in suspects)
    parts = sorted(
        (suspect for suspect in suspects if suspect.weight >= _SHARE_MIN * total),
        key=lambda suspect: (-suspect.weight, suspect.signal),
    )
    # Nothing is left to divide only where the signals that carried the evidence had to make room for others.
    total = sum(suspect.weight for suspect in parts) or 1.0
    return tuple(
        Cause(suspect.signal, suspect.weight / total, suspect.observed, *suspect.expected, suspect.fault)
        for suspect in parts
    )
