"""The battery that every detector passes, whatever its idea. A detector's test calls each check with its factory.

@pytest.mark.parametrize("check", checks.ALL, ids=lambda check: check.__name__)
def test_passes_the_battery(check):
    check(Novelty)
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from typing import Final

from plantwatch.detectors.base import SURPRISE_MAX, Detector

MakeDetector = Callable[[], Detector]

# Enough for any detector to leave its warm-up.
_READINGS: Final = 4000


def signal(seed: int, readings: int = _READINGS) -> Iterator[float]:
    """Noise about a wandering level, now and then far out: what a detector meets on an ordinary and a bad day."""
    chance = random.Random(seed)
    level = 20.0
    for _ in range(readings):
        level += 0.02 * chance.gauss(0.0, 1.0) - 0.001 * (level - 20.0)
        value = level + chance.gauss(0.0, 0.3)
        yield value + chance.choice((-5.0, 8.0, 40.0)) if chance.random() < 0.005 else value


def surprises_are_within_their_range(make: MakeDetector) -> None:
    detector = make()
    surprises = [detector.step(value) for value in signal(1)]
    assert all(0.0 <= surprise <= SURPRISE_MAX for surprise in surprises)
    assert not detector.warming_up


def nothing_is_strange_while_warming_up(make: MakeDetector) -> None:
    detector = make()
    for value in signal(2):
        was_warming_up = detector.warming_up
        surprise = detector.step(value)
        assert surprise == 0.0 or not was_warming_up


def tells_how_many_readings_are_left(make: MakeDetector) -> None:
    """Of a signal that varies from its first reading on, exactly."""
    detector = make()
    left = []
    for value in signal(13):
        if not detector.warming_up:
            break
        assert detector.readings_left is not None
        left.append(detector.readings_left)
        detector.step(value)
    assert left == list(range(len(left), 0, -1))
    assert detector.readings_left == 0


def a_far_value_is_strange_and_a_usual_one_is_not(make: MakeDetector) -> None:
    detector = make()
    chance = random.Random(3)
    for _ in range(_READINGS):
        detector.learn_one(chance.gauss(20.0, 1.0))
    assert detector.score_one(20.0) < 0.5
    assert detector.score_one(60.0) > 3.0
    assert detector.score_one(-60.0) > 3.0


def a_constant_signal_is_never_strange(make: MakeDetector) -> None:
    detector = make()
    assert all(detector.step(7.25) == 0.0 for _ in range(_READINGS))


def one_value_is_not_strange(make: MakeDetector) -> None:
    assert make().step(1e9) == 0.0


def values_that_are_not_finite_are_refused(make: MakeDetector) -> None:
    """And they change nothing, also before the first value."""
    detector, untouched = make(), make()
    for value in signal(4, 600):
        for absurd in (math.nan, math.inf, -math.inf):
            for method in (detector.step, detector.score_one, detector.learn_one):
                _refuses(method, absurd)
        assert detector.step(value) == untouched.step(value)
    assert detector.state() == untouched.state()


def extreme_values_are_survived(make: MakeDetector) -> None:
    detector = make()
    for value in (1e308, -1e308, 5e-324, 0.0, -0.0, 1e-300, 1.7e308) * 200:
        assert 0.0 <= detector.step(value) <= SURPRISE_MAX
    json.dumps(detector.state(), allow_nan=False)


def an_absurd_value_does_not_blind(make: MakeDetector) -> None:
    """One value far beyond reason must cost neither the resolution nor the scale."""
    detector = make()
    chance = random.Random(5)
    for turn in range(_READINGS):
        detector.learn_one(1e12 if turn == 2000 else chance.gauss(20.0, 1.0))
    assert detector.score_one(20.0) < 0.5
    assert detector.score_one(60.0) > 3.0


def step_is_score_then_learn(make: MakeDetector) -> None:
    fused, apart = make(), make()
    for value in signal(6):
        surprise = apart.score_one(value)
        apart.learn_one(value)
        assert fused.step(value) == surprise
    assert fused.state() == apart.state()


def scoring_changes_nothing(make: MakeDetector) -> None:
    asked, silent = make(), make()
    for value in signal(7, 1500):
        asked.score_one(value * 3.0)
        asked.step(value)
        silent.step(value)
    assert asked.state() == silent.state()


def goes_on_after_a_restore_to_the_last_bit(make: MakeDetector) -> None:
    """Also through JSON text, and at ages where it has just begun, warms up, and is grown up."""
    for age in (0, 1, 31, 32, 33, 200, 1000, 3000):
        original, restored = make(), make()
        values = list(signal(8))
        for value in values[:age]:
            original.step(value)
        restored.restore(json.loads(json.dumps(original.state(), allow_nan=False)))
        assert [original.step(value) for value in values[age:]] == [restored.step(value) for value in values[age:]]
        assert original.state() == restored.state()


def a_state_of_something_else_is_refused(make: MakeDetector) -> None:
    state = dict(make().state())
    broken_states: list[dict[str, object]] = [{}, {**state, "kind": "unknown/9"}, {"kind": state["kind"]}]
    for broken in broken_states:
        _refuses_state(make(), broken)


def its_state_is_bounded(make: MakeDetector) -> None:
    """Ten times the readings, not a byte more than numbers take to print."""
    detector = make()
    sizes = []
    for turn, value in enumerate(signal(9, 10 * _READINGS), start=1):
        detector.learn_one(value)
        if turn % _READINGS == 0:
            sizes.append(len(json.dumps(detector.state())))
    assert max(sizes) <= sizes[0] + 200
    assert max(sizes) <= 16_384


def scale_and_offset_do_not_matter(make: MakeDetector) -> None:
    """Degrees or kelvin, pascal or bar: the same strangeness.

    A factor that is a power of two is exact. Any other factor and offset round differently, so that a value at the very
    edge of a cell may fall into the next one; surprises then differ by at most what one cell of distance is worth.
    """
    plain, doubled, kelvin = make(), make(), make()
    far_apart = 0
    for value in signal(10):
        surprise = plain.step(value)
        assert doubled.step(value * 1024.0) == surprise
        far_apart += abs(kelvin.step(value * 1.8 + 273.15) - surprise) > 0.3
    assert far_apart <= 0.002 * _READINGS


def frozen_it_does_not_learn_the_fault(make: MakeDetector) -> None:
    """What lasts while frozen stays strange; once thawed, it becomes ordinary."""
    detector = make()
    chance = random.Random(11)
    for _ in range(_READINGS):
        detector.learn_one(chance.gauss(20.0, 1.0))
    for _ in range(50):
        detector.learn_one(chance.gauss(60.0, 1.0))
    detector.freeze()
    assert min(detector.step(chance.gauss(60.0, 1.0)) for _ in range(_READINGS)) > 1.0
    detector.thaw()
    for _ in range(_READINGS):
        detector.learn_one(chance.gauss(60.0, 1.0))
    assert detector.score_one(60.0) < 0.5


def knows_what_would_have_been_ordinary(make: MakeDetector) -> None:
    detector = make()
    assert detector.expected() is None
    chance = random.Random(12)
    for _ in range(_READINGS):
        detector.learn_one(chance.uniform(4.0, 6.0))
    band = detector.expected()
    assert band is not None
    assert 3.9 <= band[0] <= 4.1
    assert 5.9 <= band[1] <= 6.1


def _refuses(method: Callable[[float], object], value: float) -> None:
    try:
        method(value)
    except ValueError:
        return
    raise AssertionError(f"{value} was not refused")


def _refuses_state(detector: Detector, state: dict[str, object]) -> None:
    try:
        detector.restore(state)
    except ValueError:
        return
    raise AssertionError(f"the state {state!r:.80} was not refused")


ALL: Final = (
    surprises_are_within_their_range,
    nothing_is_strange_while_warming_up,
    tells_how_many_readings_are_left,
    a_far_value_is_strange_and_a_usual_one_is_not,
    a_constant_signal_is_never_strange,
    one_value_is_not_strange,
    values_that_are_not_finite_are_refused,
    extreme_values_are_survived,
    an_absurd_value_does_not_blind,
    step_is_score_then_learn,
    scoring_changes_nothing,
    goes_on_after_a_restore_to_the_last_bit,
    a_state_of_something_else_is_refused,
    its_state_is_bounded,
    scale_and_offset_do_not_matter,
    frozen_it_does_not_learn_the_fault,
    knows_what_would_have_been_ordinary,
)
