"""Evidence, hysteresis and hold-off: one fault is one alert."""

from __future__ import annotations

import itertools
import random
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantwatch.incident import Phase, Severity
from plantwatch.policy import WATCHING, AlertPolicy, AlertState, decide, severity
from plantwatch.telemetry import EpochMs

START: EpochMs = 1_700_000_000_000
POLICY = AlertPolicy()

surprises = st.lists(
    st.tuples(st.floats(0.0, 12.0), st.integers(0, 30_000)),
    max_size=300,
)


class Turn(NamedTuple):
    at: EpochMs
    state: AlertState
    phase: Phase | None


def play(readings: list[tuple[float, EpochMs]], policy: AlertPolicy = POLICY) -> list[Turn]:
    """Each reading: its surprise, and milliseconds since the one before."""
    at, state, turns = START, WATCHING, []
    for surprise, pause in readings:
        at += pause
        state, phase = decide(policy, state, surprise, at)
        turns.append(Turn(at, state, phase))
    return turns


def phases(turns: list[Turn]) -> list[Phase]:
    return [turn.phase for turn in turns if turn.phase is not None]


def every_second(*surprises: float) -> list[tuple[float, EpochMs]]:
    return [(surprise, 1000) for surprise in surprises]


@given(surprises)
def test_incidents_open_and_clear_in_turn(readings: list[tuple[float, int]]) -> None:
    found = phases(play(readings))
    assert found[::2] == [Phase.OPENED] * len(found[::2])
    assert found[1::2] == [Phase.CLEARED] * len(found[1::2])


@given(surprises)
def test_evidence_stays_within_its_limits_and_open_says_so(readings: list[tuple[float, int]]) -> None:
    for turn in play(readings):
        assert 0.0 <= turn.state.evidence <= POLICY.evidence_max
        assert turn.state.is_open or turn.state.evidence < POLICY.open_at
        assert turn.state.is_open or turn.state.calm_since is None
        assert turn.state.first_seen <= turn.at


@given(surprises)
def test_first_seen_never_changes_while_an_incident_is_open(readings: list[tuple[float, int]]) -> None:
    before = WATCHING
    for turn in play(readings):
        if before.is_open and turn.state.is_open:
            assert turn.state.first_seen == before.first_seen
            assert turn.state.peak >= before.peak
        before = turn.state


@given(surprises)
def test_two_openings_are_further_apart_than_the_hold_off(readings: list[tuple[float, int]]) -> None:
    turns = play(readings)
    for cleared, opened in itertools.pairwise(turns):
        assert not (cleared.phase is Phase.CLEARED and opened.phase is Phase.OPENED)
    opened_at = [turn.at for turn in turns if turn.phase is Phase.OPENED]
    assert all(later - earlier >= POLICY.clear_after_s * 1000 for earlier, later in itertools.pairwise(opened_at))


@given(surprises, st.integers(0, 300))
def test_a_state_is_all_that_is_needed_to_go_on(readings: list[tuple[float, int]], cut: int) -> None:
    turns = play(readings)
    at, state = (turns[cut - 1].at, AlertState(*turns[cut - 1].state)) if 0 < cut <= len(turns) else (START, WATCHING)
    rest = readings[cut:] if 0 < cut <= len(turns) else readings
    for (surprise, pause), expected in zip(rest, turns[len(turns) - len(rest) :], strict=True):
        at += pause
        state, phase = decide(POLICY, state, surprise, at)
        assert (state, phase) == (expected.state, expected.phase)


@given(st.floats(0.0, POLICY.allowance), st.integers(1, 500))
def test_what_ordinary_readings_do_is_never_an_incident(surprise: float, readings: int) -> None:
    turns = play(every_second(*[surprise] * readings))
    assert phases(turns) == []
    assert turns[-1].state == WATCHING


def test_one_glitch_opens_nothing_however_absurd() -> None:
    assert phases(play(every_second(12.0, *[0.0] * 100, 12.0, 12.0))) == []


def test_a_strong_fault_opens_after_five_readings_and_dates_from_its_first() -> None:
    turns = play(every_second(*[0.0] * 5, *[12.0] * 20))
    opened = next(turn for turn in turns if turn.phase is Phase.OPENED)
    assert opened is turns[9]
    assert opened.state.first_seen == turns[5].at


def test_a_fault_that_comes_and_goes_is_one_incident() -> None:
    pattern = [12.0] * 30 + [0.0] * 50
    found = phases(play(every_second(*pattern * 10, *[0.0] * 200)))
    assert found == [Phase.OPENED, Phase.CLEARED]


def test_an_incident_clears_after_evidence_is_gone_and_calm_has_lasted() -> None:
    turns = play(every_second(*[12.0] * 30, *[0.0] * 200))
    cleared = next(turn for turn in turns if turn.phase is Phase.CLEARED)
    calm_readings = POLICY.evidence_max / POLICY.allowance
    last_strange = turns[29].at
    assert cleared.at - last_strange == (calm_readings + POLICY.clear_after_s) * 1000
    assert cleared.state is WATCHING


def test_a_second_fault_after_all_was_clear_is_a_second_incident() -> None:
    fault = [12.0] * 30 + [0.0] * 200
    found = phases(play(every_second(*fault * 2)))
    assert found == [Phase.OPENED, Phase.CLEARED] * 2


def test_false_alarms_of_independent_readings_are_as_rare_as_the_bound_says() -> None:
    """A low limit makes the bound testable: 10^(0.98 * 2) readings between false alarms at least, on average."""
    policy = AlertPolicy(open_at=2.0, evidence_max=2.0, reading_max=12.0, clear_after_s=0.0)
    chance = random.Random(1)
    readings = every_second(*(chance.expovariate(2.302585) for _ in range(100_000)))
    alarms = phases(play(readings, policy)).count(Phase.OPENED)
    assert 0 < alarms <= 100_000 / 10 ** (0.98 * 2)


@pytest.mark.parametrize(
    ("peak", "expected"), [(3.9, Severity.LOW), (4.0, Severity.MEDIUM), (7.9, Severity.MEDIUM), (8.0, Severity.HIGH)]
)
def test_severity_follows_the_strangest_reading(peak: float, expected: Severity) -> None:
    assert severity(POLICY, AlertState(evidence=45.0, peak=peak, is_open=True)) is expected


@pytest.mark.parametrize(
    "wrong",
    [{"allowance": 0.0}, {"allowance": 11.0}, {"open_at": 0.0}, {"evidence_max": 10.0}, {"clear_after_s": -1.0},
     {"medium_at": 10.0}, {"open_at": float("nan")}],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        AlertPolicy(**wrong)


def test_all_problems_of_a_policy_are_told_at_once() -> None:
    with pytest.raises(ValueError, match=r"allowance.*clear_after_s"):
        AlertPolicy(allowance=-1.0, clear_after_s=-1.0)
