"""What native and pure detectors are fed side by side: wild values, and a detector's whole life in any order."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from plantwatch.detectors.base import Detector

EXTREMES: Final = (
    0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1e-300, -1e-300, 1.0, -1.0, 1e15, 1e300,
    1.7976931348623157e308, -1.7976931348623157e308,
)  # fmt: skip


class Stretch(NamedTuple):
    """Some readings of one kind."""

    kind: str
    readings: int
    centre: float
    size: float

    def values(self) -> list[float]:
        made = [_clipped(self._value(turn)) for turn in range(self.readings)]
        return [value for value in made if math.isfinite(value)]

    def _value(self, turn: int) -> float:
        match self.kind:
            case "constant":
                return self.centre
            case "noise":
                # Without a generator: what hypothesis shrinks stays readable.
                return self.centre + self.size * math.sin(turn * turn * 0.7 + self.centre)
            case "ramp":
                return self.centre + self.size * turn
            case "switch":
                return self.centre if turn // 7 % 2 else self.centre + self.size
            case "steps":
                return self.centre + self.size * math.floor(turn / 40)
            case "wave":
                return self.centre + self.size * math.sin(turn / 9.0)
            case _:
                return EXTREMES[(turn * 5) % len(EXTREMES)]


def _clipped(value: float) -> float:
    return min(max(value, -1.7976931348623157e308), 1.7976931348623157e308)


finite = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.floats(-100.0, 100.0), st.sampled_from(EXTREMES)
)
stretches = st.builds(
    Stretch,
    st.sampled_from(["constant", "noise", "noise", "ramp", "switch", "steps", "wave", "extreme"]),
    st.integers(1, 700),
    finite,
    st.one_of(finite, st.floats(1e-6, 10.0)),
)
actions = st.sampled_from(["step", "step", "step", "learn", "score", "freeze", "thaw", "restore", "swap"])
lives = st.lists(st.one_of(stretches, stretches, actions, finite), min_size=1, max_size=16)


def live(life: list[Any], native: Detector, pure: Detector, remake: Any) -> None:
    """Both live the same life; every answer is the same to the last bit. `remake()` is a new (native, pure)."""
    for event in life:
        if isinstance(event, Stretch):
            values = event.values()
            assert bits(map(native.step, values)) == bits(map(pure.step, values))
        elif isinstance(event, float):
            assert bits([native.score_one(event), native.step(event)]) == bits(
                [pure.score_one(event), pure.step(event)]
            )
        elif event in ("restore", "swap"):
            # Through JSON text, each from the other's state.
            states = [json.loads(json.dumps(one.state(), allow_nan=False)) for one in (pure, native)]
            native, pure = remake()
            native.restore(states[0])
            pure.restore(states[1])
        else:
            for one in (native, pure):
                _act(one, event)
        assert native.warming_up == pure.warming_up
        assert bits(native.expected() or ()) == bits(pure.expected() or ())
        same_state(native.state(), pure.state())


def _act(detector: Detector, action: str) -> None:
    match action:
        case "freeze":
            detector.freeze()
        case "thaw":
            detector.thaw()
        case "learn":
            detector.learn_one(1.5)
        case _:
            detector.score_one(-2.5)


def bits(numbers: Any) -> list[str]:
    """Also -0.0 and 0.0 differ."""
    return [float(number).hex() for number in numbers]


def same_state(one: Any, other: Any) -> None:
    """To the last bit, with the same types."""
    assert json.dumps(one, allow_nan=False) == json.dumps(other, allow_nan=False)
