"""A reading with what is known of it: its score, its sensors' faults, and which incidents it opens or clears."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from plantwatch.incident import Fault, Kind, Transition
from plantwatch.telemetry import Reading

# Thirty years: more than any machine waits, and a whole number everywhere.
READY_IN_S_MAX: Final = 10**9


class SensorFault(NamedTuple):
    """One check of sensor quality that this reading fails."""

    signal: str
    fault: Fault


class Suppression(StrEnum):
    """Why a reading could open nothing, whatever it said. Closed."""

    STATE = "state"
    """The machine is in a state that is not watched: off. Nothing is scored."""
    MAINTENANCE = "maintenance"
    """Somebody works on the machine: scored, not learnt."""
    LATE = "late"
    """Older than the newest, or a repeat: scored, not learnt."""


class ScoredReading(NamedTuple):
    """A reading, scored once, by the runtime nearest to the machine.

    `score` is in [0, 1]: 1 minus the probability of so strange a reading in ordinary running (rounded to 6 digits, so
    that it is the same number on the wire and in every table). 0 while warming up. `shares` says which signals carry
    the score, largest first; empty where there is nothing to explain. `open_kinds` are the incidents open after this
    reading; `transitions` those that it opened or cleared. `bundle` is the digest of the model bundle that scored.
    `ready_in_s` says, while warming up, in how many seconds that will be over if readings go on to come as they do;
    None where nobody can tell: the first reading, or no signal has varied yet.
    `state` is the machine's state by its rules, empty without any.
    """

    reading: Reading
    score: float
    shares: tuple[tuple[str, float], ...] = ()
    faults: tuple[SensorFault, ...] = ()
    open_kinds: tuple[Kind, ...] = ()
    transitions: tuple[Transition, ...] = ()
    warming_up: bool = False
    bundle: str = ""
    ready_in_s: int | None = None
    state: str = ""
    suppression: Suppression | None = None
