"""From surprise to alarm: evidence adds up, and an alarm lasts until it has been calm for a while.

Every reading adds its surprise less an allowance, and the sum never falls below 0 (a CUSUM: Page, Biometrika 1954). An
alarm opens where it reaches `open_at`: after one reading that is met once in a million, or some that are met once in a
hundred to a thousand. It clears after `clear_after` readings without evidence, so that a fault that flickers is one
alarm. `plantwatch.policy` decides alike for machines that have a clock and an operator to call; rows have none.

While a signal is young, much is new and surprises say too much (2 to 5 times too often in the first two thousand
readings, most of it in the first hundreds): each tenfold of youth takes `youth_decades` off them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True, slots=True)
class EvidenceParameters:
    """Counts are readings, surprises and evidence are decades. 4 to 6 to open and 20 to 100 to clear find the same
    faults, at 0.7 to 1.3 times the false alarms."""

    allowance: float = 1.0
    open_at: float = 5.0
    most: float = 7.5
    """Where evidence stops growing: what a long fault has piled up must not keep its alarm open for long."""
    clear_after: int = 40
    youth: int = 2000
    youth_decades: float = 3.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be positive and finite")
        if not self.open_at <= self.most:
            raise ValueError(f"open_at is {self.open_at}; evidence ends at {self.most}")


PATIENT: Final = EvidenceParameters()


class Evidence(NamedTuple):
    """What is known after a reading."""

    amount: float = 0.0
    is_open: bool = False
    calm: int = 0
    """Readings without evidence since the last one that had some, while an alarm is open."""


NO_EVIDENCE: Final = Evidence()


def weigh(parameters: EvidenceParameters, evidence: Evidence, surprise: float, now: int) -> Evidence:
    """The evidence after this reading, which is number `now` (from 0) of its signal."""
    if surprise <= 0.0 and not evidence.is_open and evidence.amount <= 0.0:
        return evidence
    if now + 1 < parameters.youth:
        surprise -= parameters.youth_decades * math.log10(parameters.youth / (now + 1))
    amount = min(max(evidence.amount + surprise - parameters.allowance, 0.0), parameters.most)
    if not evidence.is_open:
        return Evidence(amount, amount >= parameters.open_at)
    calm = evidence.calm + 1 if amount <= 0.0 else 0
    return Evidence(amount, True, calm) if calm < parameters.clear_after else NO_EVIDENCE
