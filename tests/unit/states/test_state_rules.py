"""Which rules of states are accepted, and which state a machine is then in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.settings import InvalidSettings, load
from plantwatch.states.rules import STATES_MAX, Level, StateRule, StateRules, When
from plantwatch.states.tracker import StateTracker
from plantwatch.telemetry import EpochMs, Reading

START: EpochMs = 1_700_000_000_000
SECOND: EpochMs = 1000

OFF = StateRule("off", When(signal="current", below=1.0, for_s=5.0), watched=False)
CLEANING = StateRule("cleaning", When(attribute="program", equals="cip"))
RUNNING = StateRule("running", When(signal="current", at_least=1.0), enter_s=30.0)
RULES = StateRules((OFF, CLEANING, RUNNING), default="idle")


def reading(second: float, current: float | None = None, **attributes: str) -> Reading:
    at = START + round(second * SECOND)
    return Reading("acme", "pump-1", at, at, {} if current is None else {"current": current}, attributes)


def follow(tracker: StateTracker, *readings: Reading) -> list[str]:
    return [tracker.follow(one, learn=True) for one in readings]


def test_the_first_rule_that_holds_wins() -> None:
    tracker = StateTracker(RULES)
    assert follow(tracker, reading(0, 9.0, program="cip"), reading(1, 9.0, program="none")) == ["cleaning", "start-up"]


def test_without_any_rule_that_holds_the_default_is_the_state() -> None:
    assert follow(StateTracker(RULES), reading(0, 0.5)) == ["idle"]


def test_a_condition_counts_once_it_has_held_long_enough() -> None:
    tracker = StateTracker(RULES)
    states = follow(tracker, reading(0, 9.0), *(reading(second, 0.0) for second in range(1, 8)))
    assert states == ["running", *["idle"] * 5, "off", "off"]


def test_an_interruption_begins_the_wait_again() -> None:
    tracker = StateTracker(RULES)
    follow(tracker, reading(0, 0.0), reading(4, 2.0))
    assert follow(tracker, reading(5, 0.0), reading(9, 0.0), reading(10, 0.0)) == ["idle", "idle", "off"]


def test_a_machine_that_comes_into_a_state_starts_up_first() -> None:
    tracker = StateTracker(RULES)
    follow(tracker, reading(0, 0.0), reading(6, 0.0))
    states = follow(tracker, *(reading(second, 9.0) for second in (10, 25, 39.9, 40, 50)))
    assert states == ["start-up", "start-up", "start-up", "running", "running"]


def test_what_the_machine_did_before_it_was_known_is_no_start_up() -> None:
    assert follow(StateTracker(RULES), reading(0, 9.0)) == ["running"]


def test_a_condition_of_which_a_reading_does_not_speak_stays_as_it_was() -> None:
    tracker = StateTracker(RULES)
    states = follow(tracker, reading(0, 9.0, program="cip"), reading(1, 9.0), reading(2), reading(3, 9.0, program="x"))
    assert states == ["cleaning", "cleaning", "cleaning", "start-up"]


def test_limits_hold_from_the_lower_to_below_the_upper() -> None:
    rules = StateRules((StateRule("half", When(signal="current", at_least=4.0, below=6.0)),))
    states = [follow(StateTracker(rules), reading(0, value))[0] for value in (3.9, 4.0, 5.9, 6.0)]
    assert states == ["running", "half", "half", "running"]


def test_a_late_reading_is_told_by_itself_and_changes_nothing() -> None:
    tracker = StateTracker(RULES)
    follow(tracker, reading(0, 9.0), reading(100, 9.0))
    before = tracker.pack()
    assert [tracker.glance(reading(50, 0.0)), tracker.glance(reading(50)), tracker.glance(reading(50, 9.0))] == [
        "off",
        "running",
        "running",
    ]
    assert tracker.pack() == before


def test_a_clock_that_is_set_back_does_not_stop_the_waiting() -> None:
    tracker = StateTracker(RULES)
    follow(tracker, reading(10_000, 9.0), reading(10_001, 0.0))
    tracker.set_clock(START)
    assert follow(tracker, reading(0, 0.0), reading(5, 0.0)) == ["idle", "off"]


def test_levels_that_are_learnt_tell_the_state_once_both_have_been_seen() -> None:
    rules = StateRules((StateRule("off", When(signal="current", learnt=Level.LOW), watched=False),))
    tracker = StateTracker(rules)
    states = [tracker.follow(reading(second, 9.0 + second % 3), learn=True) for second in range(200)]
    states += [tracker.follow(reading(200 + second, 0.1), learn=True) for second in range(200)]
    states += [tracker.follow(reading(400 + second, 9.0), learn=True) for second in range(10)]
    assert set(states[:200]) == {"running"}
    assert set(states[300:400]) == {"off"}
    assert set(states[400:]) == {"running"}


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from([None, 0.0, 1.0, 9.0]), st.sampled_from([None, "cip", "none"])),
        max_size=30,
    ),
    st.integers(0, 30),
)
def test_a_tracker_goes_on_from_its_saved_memory(steps: list[tuple[int, float | None, str | None]], cut: int) -> None:
    rules = StateRules((OFF, CLEANING, StateRule("on", When(signal="current", learnt=Level.HIGH), enter_s=10.0)))
    tracker, second, states, resumed = StateTracker(rules), 0, [], StateTracker(rules)
    for index, (seconds, current, program) in enumerate(steps):
        if index == cut:
            resumed.unpack(json.loads(json.dumps(tracker.pack())))
        second += seconds
        one = reading(second, current, **({} if program is None else {"program": program}))
        states.append(tracker.follow(one, learn=True))
        if index >= cut:
            assert resumed.follow(one, learn=True) == states[-1]
    assert set(states) <= rules.names


@pytest.mark.parametrize(
    "state",
    [
        ["unheard", [None, None, None], None, 0, {}],
        ["idle", [None], None, 0, {}],
        ["idle", [None, None, None], 3, 0, {}],
        ["idle", [None, None, None], None, 0, {"current": []}],
        [],
    ],
)
def test_a_memory_of_other_rules_is_refused(state: list[Any]) -> None:
    with pytest.raises(ValueError):
        StateTracker(RULES).unpack(state)


@pytest.mark.parametrize(
    "condition",
    [
        {},
        {"attribute": "program"},
        {"equals": "cip"},
        {"signal": "current"},
        {"signal": "current", "equals": "cip"},
        {"signal": "current", "below": 1.0, "learnt": Level.LOW},
        {"signal": "current", "below": 1.0, "attribute": "program", "equals": "cip"},
        {"signal": "current", "at_least": 2.0, "below": 2.0},
        {"signal": "current", "below": 2.0, "for_s": -1.0},
        {"signal": "current", "below": 2.0, "for_s": 90_000.0},
    ],
)
def test_a_condition_that_is_not_one_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        When(**condition)


def test_rules_that_contradict_themselves_are_refused() -> None:
    when = When(attribute="program", equals="cip")
    with pytest.raises(ValueError, match="same"):
        StateRule("start-up", when)
    with pytest.raises(ValueError, match="not watched"):
        StateRule("off", when, watched=False, enter_s=10.0)
    with pytest.raises(ValueError, match="watched by one rule"):
        StateRules((StateRule("off", when, watched=False), StateRule("off", when)))
    with pytest.raises(ValueError, match="watched by one rule"):
        StateRules((StateRule("off", when, watched=False),), default="off")
    with pytest.raises(ValueError, match="at most"):
        StateRules(tuple(StateRule(f"state-{number}", when) for number in range(STATES_MAX)))


def test_rules_are_configuration_as_json() -> None:
    text = """{"default": "idle", "rules": [
        {"name": "off", "when": {"signal": "current", "below": 1.0, "for_s": 5}, "watched": false},
        {"name": "cleaning", "when": {"attribute": "program", "equals": "cip"}},
        {"name": "running", "when": {"signal": "current", "at_least": 1}, "enter_s": 30}]}"""
    assert load(StateRules, json.loads(text)) == RULES
    learnt = load(When, {"signal": "current", "learnt": "low"})
    assert learnt.learnt is Level.LOW
    with pytest.raises(InvalidSettings):
        load(StateRules, {"rules": [{"name": "off", "when": {"signal": "current", "learnt": "middle"}}]})
