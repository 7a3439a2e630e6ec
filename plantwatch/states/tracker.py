"""Which state a machine is in, reading after reading.

A reading that does not speak of a condition (its attribute or signal is absent: many devices send an attribute only
when it changes) leaves that condition as it was. Time is the readings' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from plantwatch.states.rules import StateRule, StateRules, When
from plantwatch.states.split import OnOffSplit
from plantwatch.telemetry import EpochMs, Reading

# By the name of their signal.
Splits = dict[str, OnOffSplit]


class StateTracker:
    """The state of one machine: `state` after the reading last followed."""

    __slots__ = ("state", "_rules", "_splits", "_since", "_inner", "_entered_at")

    def __init__(self, rules: StateRules) -> None:
        self._rules = rules
        self.state = rules.default
        self._splits: Splits = {
            rule.when.signal: OnOffSplit() for rule in rules.rules if rule.when.signal and rule.when.learnt
        }
        # For each rule since when its condition holds; None while it does not.
        self._since: list[EpochMs | None] = [None] * len(rules.rules)
        # The rule that is in force, -1 for none; None before the first reading, which enters nothing.
        self._inner: int | None = None
        self._entered_at: EpochMs = 0

    def follow(self, reading: Reading, *, learn: bool) -> str:
        """The state with this reading. `learn`: its values count as ordinary for the splits."""
        at = reading.observed_at
        for name, split in self._splits.items():
            value = reading.signals.get(name)
            if value is not None:
                if learn:
                    split.learn(value)
                split.tell(value)
        for index, rule in enumerate(self._rules.rules):
            holds = _holds(rule.when, reading, self._splits)
            if holds is False:
                self._since[index] = None
            elif holds and self._since[index] is None:
                self._since[index] = at
        self._enter(self._in_force(at), at)
        return self.state

    def glance(self, reading: Reading) -> str:
        """The state that a late reading was in, as far as it says so itself. Changes nothing."""
        for index, rule in enumerate(self._rules.rules):
            holds = _holds(rule.when, reading, self._splits)
            if holds if holds is not None else self._since[index] is not None:
                return rule.name
        return self._rules.default

    def set_clock(self, at: EpochMs) -> None:
        """The device's clock was set back: what has lasted begins again now."""
        self._since = [None if since is None else min(since, at) for since in self._since]
        self._entered_at = min(self._entered_at, at)

    def _in_force(self, at: EpochMs) -> int:
        for index, (rule, since) in enumerate(zip(self._rules.rules, self._since, strict=True)):
            if since is not None and at - since >= rule.when.for_s * 1000:
                return index
        return -1

    def _enter(self, inner: int, at: EpochMs) -> None:
        if self._name(inner) != self._name(self._inner):
            # What the machine was doing before we came to know it is no change.
            self._entered_at = at if self._inner is not None else 0
        self._inner = inner
        rule = self._rule(inner)
        entering = rule is not None and rule.enter_s > 0 and at - self._entered_at < rule.enter_s * 1000
        self.state = rule.enter_as if rule is not None and entering else self._name(inner) or self._rules.default

    def _rule(self, index: int | None) -> StateRule | None:
        return None if index is None or index < 0 else self._rules.rules[index]

    def _name(self, index: int | None) -> str | None:
        if index is None:
            return None
        return self._rules.default if index < 0 else self._rules.rules[index].name

    def pack(self) -> list[Any]:
        """As JSON can hold it."""
        splits = {name: split.state() for name, split in self._splits.items()}
        return [self.state, self._since, self._inner, self._entered_at, splits]

    def unpack(self, state: Sequence[Any]) -> None:
        """Go on from a `pack`. Raises ValueError, TypeError or KeyError where it is none of these rules'."""
        name, since, inner, entered_at, splits = state
        if name not in self._rules.names or len(since) != len(self._since) or set(splits) != set(self._splits):
            raise ValueError("a machine's state is not one of these rules")
        if inner is not None and not -1 <= inner < len(self._since):
            raise ValueError("a machine's state is not one of these rules")
        self.state, self._since, self._inner, self._entered_at = name, list(since), inner, entered_at
        for signal, split in self._splits.items():
            split.restore(splits[signal])


def _holds(when: When, reading: Reading, splits: Splits) -> bool | None:
    """Whether the condition holds with this reading; None where the reading does not speak of it."""
    if when.attribute is not None:
        text = reading.attributes.get(when.attribute)
        return None if text is None else text == when.equals
    assert when.signal is not None
    value = reading.signals.get(when.signal)
    if value is None:
        return None
    if when.learnt is not None:
        return splits[when.signal].side(value) is when.learnt
    return (when.at_least is None or value >= when.at_least) and (when.below is None or value < when.below)
