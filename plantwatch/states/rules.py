"""Rules that name a machine's state; the first whose condition holds wins.

    rules = (
        StateRule("off", When(signal="motor_current", learnt=Level.LOW, for_s=5), watched=False),
        StateRule("cleaning", When(attribute="program", equals="cip")),
        StateRule("running", When(signal="motor_current", learnt=Level.HIGH), enter_s=120),
    )

Conditions are a small closed set: an attribute equals a text; a signal is at least `at_least`, below `below`, or both
(between); a signal is on the low or the high side of the two levels that were found in it. Each may have to hold for so
many seconds before it counts. A rule with `enter_s` names the first seconds after the machine came into the state
otherwise: a pump that starts is not yet a pump that runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# Each state has detectors of its own, about 4 KB a signal: a machine of 4 signals then takes 128 KB instead of 16. Off,
# starting, running, idle, two programs, cleaning and stopping is what machines have; more are programs of one state.
STATES_MAX: Final = 8
# The state while no rule's condition holds.
DEFAULT_STATE: Final = "running"
START_UP: Final = "start-up"
# A day: what lasts longer is no transition.
SECONDS_MAX: Final = 86_400.0


class Level(StrEnum):
    """A side of the two levels that a signal is found to have."""

    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class When:
    """A condition on a reading, exactly one of: `attribute` with `equals`; `signal` with limits; with `learnt`."""

    attribute: str | None = None
    equals: str | None = None
    signal: str | None = None
    at_least: float | None = None
    below: float | None = None
    learnt: Level | None = None
    for_s: float = 0.0
    """How long it has to hold, by the readings' own time, before it counts."""

    def __post_init__(self) -> None:
        by_attribute = self.attribute is not None and self.equals is not None
        by_limits = self.signal is not None and (self.at_least is not None or self.below is not None)
        by_split = self.signal is not None and self.learnt is not None
        named = [self.attribute is not None, self.signal is not None]
        if by_attribute + by_limits + by_split != 1 or sum(named) != 1 or (by_attribute != (self.equals is not None)):
            raise ValueError(
                "a condition is an attribute that equals a text, or a signal with at_least, below or both, or a signal "
                "with a learnt level"
            )
        if self.at_least is not None and self.below is not None and not self.at_least < self.below:
            raise ValueError(f"at_least {self.at_least} is not less than below {self.below}")
        if not 0 <= self.for_s <= SECONDS_MAX:
            raise ValueError(f"for_s is {self.for_s}; it must be between 0 and {SECONDS_MAX:g}")


@dataclass(frozen=True, slots=True)
class StateRule:
    """The machine is in the state `name` when `when` holds and no rule before it does."""

    name: str
    when: When
    watched: bool = True
    """False: nothing in this state is scored or learnt; a machine that is off has no anomalies."""
    enter_s: float = 0.0
    """How long after it came into this state from another the machine is in the state `enter_as` instead."""
    enter_as: str = START_UP

    def __post_init__(self) -> None:
        if not self.name or not self.enter_as or self.enter_as == self.name:
            raise ValueError(f"a state's names {self.name!r} and {self.enter_as!r} are empty or the same")
        if not 0 <= self.enter_s <= SECONDS_MAX:
            raise ValueError(f"enter_s of {self.name!r} is {self.enter_s}; it must be between 0 and {SECONDS_MAX:g}")
        if self.enter_s and not self.watched:
            raise ValueError(f"the state {self.name!r} is not watched, so that nothing can be told from its beginning")


@dataclass(frozen=True, slots=True)
class StateRules:
    """The rules of a kind of machine, the first that holds wins; without any, a machine has no states."""

    rules: tuple[StateRule, ...] = ()
    default: str = DEFAULT_STATE
    """The state while no rule's condition holds."""

    def __post_init__(self) -> None:
        names = self.names
        if len(names) > STATES_MAX:
            raise ValueError(f"{len(names)} states, at most {STATES_MAX} are allowed")
        if len(self.rules) > STATES_MAX:
            raise ValueError(f"{len(self.rules)} rules of states, at most {STATES_MAX} are allowed")
        if not self.default:
            raise ValueError("the default state has no name")
        mixed = self.unwatched & ({rule.name for rule in self.rules if rule.watched} | {self.default} | self._entered)
        if mixed:
            raise ValueError(f"the state {min(mixed)!r} is watched by one rule and not by another")

    @property
    def names(self) -> frozenset[str]:
        """All states that there can be."""
        return frozenset({rule.name for rule in self.rules} | {self.default}) | self._entered

    @property
    def unwatched(self) -> frozenset[str]:
        return frozenset(rule.name for rule in self.rules if not rule.watched)

    @property
    def _entered(self) -> frozenset[str]:
        return frozenset(rule.enter_as for rule in self.rules if rule.enter_s)
