"""A reading with what is known of it: its score, its sensors' faults, and which incidents it opens or clears."""

from __future__ import annotations

from typing import NamedTuple

from plantwatch.incident import Fault, Kind, Transition
from plantwatch.telemetry import Reading


class SensorFault(NamedTuple):
    """One check of sensor quality that this reading fails."""

    signal: str
    fault: Fault


class ScoredReading(NamedTuple):
    """A reading, scored once, by the runtime nearest to the machine.

    `score` is in [0, 1]: 1 minus the probability of so strange a reading in ordinary running (rounded to 6 digits, so
    that it is the same number on the wire and in every table). 0 while warming up. `shares` says which signals carry
    the score, largest first; empty where there is nothing to explain. `open_kinds` are the incidents open after this
    reading; `transitions` those that it opened or cleared. `bundle` is the digest of the model bundle that scored.
    """

    reading: Reading
    score: float
    shares: tuple[tuple[str, float], ...] = ()
    faults: tuple[SensorFault, ...] = ()
    open_kinds: tuple[Kind, ...] = ()
    transitions: tuple[Transition, ...] = ()
    warming_up: bool = False
    bundle: str = ""
