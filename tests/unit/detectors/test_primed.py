"""A primed detector begins with what its fleet knows, ends with its own, and notices where the fleet does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest

from plantwatch.detectors import checks
from plantwatch.detectors.novelty import Novelty
from plantwatch.detectors.primed import GROWN_UP, TRIAL, Primed
from plantwatch.detectors.prior import Prior
from tests.unit.bundle.fleets import PARAMETERS, prior, running

LEVEL = 20.0


@cache
def known() -> Prior:
    return prior(LEVEL)


def fitting() -> Primed:
    return Primed(PARAMETERS, known())


@cache
def far() -> Prior:
    return prior(1e6)


def not_fitting() -> Primed:
    return Primed(PARAMETERS, far())


@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_passes_the_battery_where_its_prior_does_not_fit(check: Callable[[checks.MakeDetector], None]) -> None:
    """Its readings left are those of the trial first, and of the own warm-up then."""
    if check is not checks.tells_how_many_readings_are_left:
        check(not_fitting)


# A prior has a scale of its own, knows a band from the start, and its readings left are the trial's.
OF_A_PRIOR = {checks.scale_and_offset_do_not_matter, checks.knows_what_would_have_been_ordinary}


@pytest.mark.parametrize("check", [check for check in checks.ALL if check not in OF_A_PRIOR], ids=lambda c: c.__name__)
def test_passes_the_battery_where_its_prior_fits(check: Callable[[checks.MakeDetector], None]) -> None:
    check(fitting)


def test_a_machine_of_the_fleet_is_watched_after_the_trial() -> None:
    detector = fitting()
    values = running(50, 400)
    for left in range(TRIAL, 0, -1):
        assert (detector.warming_up, detector.readings_left) == (True, left)
        assert detector.step(next(values)) == 0.0
    assert (detector.warming_up, detector.readings_left) == (False, 0)
    assert detector.score_one(LEVEL + 12.0) > 4.0
    assert max(detector.step(value) for value in values) < 2.0


def test_without_a_prior_it_would_still_warm_up() -> None:
    alone = Novelty(PARAMETERS)
    for value in running(50, TRIAL):
        alone.step(value)
    assert alone.warming_up
    assert alone.score_one(LEVEL + 12.0) == 0.0


@pytest.mark.parametrize("level", [LEVEL + 30.0, LEVEL - 30.0, 1e9, -1e300])
def test_a_machine_of_another_level_warms_up_as_if_it_had_no_prior(level: float) -> None:
    detector, alone = fitting(), Novelty(PARAMETERS)
    for turn, value in enumerate(running(51, 3000, level)):
        surprise = alone.step(value)
        assert detector.step(value) == surprise
        if turn >= TRIAL:
            assert detector.readings_left == alone.readings_left
    assert not detector.guided


def test_a_change_after_the_trial_is_strange_and_stays_so_while_frozen() -> None:
    detector = fitting()
    for value in running(52, 100):
        detector.step(value)
    surprises = [detector.step(value) for value in running(53, 20, LEVEL + 15.0)]
    assert min(surprises) > 2.0
    detector.freeze()
    assert min(detector.step(value) for value in running(53, 2 * GROWN_UP, LEVEL + 15.0)) > 2.0
    assert detector.guided
    detector.thaw()
    for value in running(54, 3000, LEVEL + 15.0):
        detector.step(value)
    assert max(detector.step(value) for value in running(55, 100, LEVEL + 15.0)) < 2.0


def test_grown_up_it_is_its_own() -> None:
    """What only the fleet has met is strange again, and its memory is that of a detector that never had a prior."""
    wide = fitting()
    narrow = [LEVEL + 0.5 * ((turn * 7) % 11) / 11 for turn in range(GROWN_UP + 500)]
    own = Novelty(PARAMETERS)
    for turn, value in enumerate(narrow):
        assert wide.guided == (turn < GROWN_UP)
        wide.step(value)
        own.step(value)
    assert wide.state()["own"] == own.state()
    assert wide.score_one(LEVEL - 2.0) == own.score_one(LEVEL - 2.0) > 2.0
    assert fitting().score_one(LEVEL - 2.0) == 0.0


@pytest.mark.parametrize("age", [0, 1, TRIAL - 1, TRIAL, 300, GROWN_UP + 10])
def test_at_every_age_it_goes_on_after_a_restore(age: int) -> None:
    original, restored = fitting(), fitting()
    values = list(running(56, age + 600))
    for value in values[:age]:
        original.step(value)
    restored.restore(json.loads(json.dumps(original.state(), allow_nan=False)))
    assert [original.step(value) for value in values[age:]] == [restored.step(value) for value in values[age:]]
    assert original.state() == restored.state()


def test_a_state_with_too_few_numbers_is_refused() -> None:
    state = dict(fitting().state())
    with pytest.raises(ValueError, match="incomplete"):
        fitting().restore(state | {"numbers": [1]})
