"""Twofold novelty as a detector of series with one signal: a calibrated score, and one alarm for one event.

The score is 1 - the share of this signal's readings that were as surprising (`Calibration`), so that ordinary running
crosses 0.99 about once in 100 readings. Scores from OPENING_SCORE (0.995) up are kept for the readings that open an
alarm (`holdoff.follow`): whoever has the scores only and puts a threshold there gets the alarms, one for each event.
While an alarm lasts, scores stay below it and keep their order.

When it misleads. As `TwofoldNovelty` does; a calibrated score falls while a long fault becomes this signal's habit.

>>> detector = TwofoldSeries()
>>> verdicts = [detector.step((20.0 + turn % 7,)) for turn in range(2000)]
>>> any(verdict.alarm for verdict in verdicts)
False
>>> detector.step((90.0,)).alarm
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from plantwatch.detectors.base import SURPRISE_MAX, State, score_of
from plantwatch.detectors.calibration import Calibration
from plantwatch.detectors.holdoff import BALANCED, NO_ALARM, AlarmState, HoldOffParameters, follow
from plantwatch.detectors.series import Verdict
from plantwatch.detectors.twofold import TwofoldNovelty

# Calibrated surprises up to here are published as they are: a score of 0.99.
_PLAIN_UP_TO: Final = 2.0
_OPENING: Final = 2.3
OPENING_SCORE: Final = score_of(_OPENING)
# No reading supports a finer claim about how strong its event is.
_OPENING_STEP: Final = 0.5
# Rounded to six digits, a score that does not open an alarm must still lie below one that does.
_ROOM: Final = _OPENING - _PLAIN_UP_TO - 0.01


class TwofoldSeries:
    """One signal. A missing value scores 0 and changes nothing. See the module's docstring."""

    KIND: Final = "twofold-series/1"

    def __init__(self, train_rows: int | None = None, hold_off: HoldOffParameters = BALANCED) -> None:
        self._novelty, self._calibration = TwofoldNovelty(), Calibration()
        self._alarm: AlarmState = NO_ALARM
        self._hold_off = hold_off
        self._readings = 0
        # Rows known to be normal: they are learnt and never an alarm.
        self._train_rows_left = train_rows or 0

    def step(self, values: Sequence[float | None]) -> Verdict:
        training = self._train_rows_left > 0
        self._train_rows_left -= training
        value = values[0]
        if value is None:
            return Verdict(0.0, self._alarm.is_open)
        unrest = self._novelty.unrest(value)
        young = self._novelty.warming_up
        surprise = self._novelty.step(value)
        calibrated = 0.0 if young else self._calibration.step(surprise, unrest)
        self._alarm = follow(self._hold_off, self._alarm, 0.0 if training else surprise, self._readings)
        self._readings += 1
        if self._alarm.opened:
            published = _of_opening(surprise - self._hold_off.threshold)
        else:
            published = _below_opening(calibrated)
        return Verdict(score_of(published), self._alarm.is_open)

    def state(self) -> State:
        return {
            "kind": self.KIND,
            "novelty": self._novelty.state(),
            "calibration": self._calibration.state(),
            "alarm": list(self._alarm),
            "readings": self._readings,
            "train_rows_left": self._train_rows_left,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        if state.get("kind") != self.KIND:
            raise ValueError(f"this is the state of {state.get('kind')!r}, not of {self.KIND!r}")
        try:
            self._novelty.restore(state["novelty"])
            self._calibration.restore(state["calibration"])
            self._alarm = AlarmState(*state["alarm"])
            self._readings = int(state["readings"])
            self._train_rows_left = int(state["train_rows_left"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"a {self.KIND} state is incomplete: {error!r}") from None


def _of_opening(beyond: float) -> float:
    """In steps, from what just opens an alarm upwards."""
    return min(_OPENING + _OPENING_STEP * math.floor(beyond / _OPENING_STEP), SURPRISE_MAX)


def _below_opening(calibrated: float) -> float:
    """In order, but below what an opening alarm gets."""
    beyond = calibrated - _PLAIN_UP_TO
    return _PLAIN_UP_TO + _ROOM * -math.expm1(-beyond) if beyond > 0.0 else calibrated
