"""Twofold novelty as a detector of series with one signal: a calibrated score, first signs, and one alarm for a fault.

The *score* is 1 - the share of this signal's readings that were as surprising (`Calibration`), so that ordinary running
crosses 0.99 about once in 100 readings. Scores from FIRST_SIGN_SCORE (0.995) up are kept for first signs: the one
reading of an event at which its surprise passes a low threshold (`holdoff.follow`). Whoever has the scores only and
puts a threshold there gets every event early and once, and some that come to nothing.

The *alarm* is for whoever must get up: it opens when evidence lasts (`evidence.weigh`), and rests on a fourth view
besides, the phase portrait, which sees changed rhythms inside the known range. It comes some readings later than the
first sign, with about a third of the false ones.

When it misleads. As `TwofoldNovelty` and `Portrait` do; a calibrated score falls while a long fault becomes this
signal's habit.

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
from plantwatch.detectors.evidence import NO_EVIDENCE, PATIENT, Evidence, EvidenceParameters, weigh
from plantwatch.detectors.holdoff import BALANCED, NO_EVENT, EventState, HoldOffParameters, follow
from plantwatch.detectors.portrait import Portrait
from plantwatch.detectors.series import Verdict
from plantwatch.detectors.twofold import TwofoldNovelty

# Calibrated surprises up to here are published as they are: a score of 0.99.
_PLAIN_UP_TO: Final = 2.0
_FIRST_SIGN: Final = 2.3
FIRST_SIGN_SCORE: Final = score_of(_FIRST_SIGN)
# No reading supports a finer claim about how strong its event is.
_FIRST_SIGN_STEP: Final = 0.5
# Rounded to six digits, a score that is no first sign must still lie below one that is.
_ROOM: Final = _FIRST_SIGN - _PLAIN_UP_TO - 0.01


class TwofoldSeries:
    """One signal. A missing value scores 0 and changes nothing. See the module's docstring."""

    KIND: Final = "twofold-series/2"

    def __init__(
        self,
        train_rows: int | None = None,
        hold_off: HoldOffParameters = BALANCED,
        evidence: EvidenceParameters = PATIENT,
    ) -> None:
        self._novelty, self._portrait, self._calibration = TwofoldNovelty(), Portrait(), Calibration()
        self._event: EventState = NO_EVENT
        self._evidence: Evidence = NO_EVIDENCE
        self._hold_off, self._patience = hold_off, evidence
        self._readings = 0
        # Rows known to be normal: they are learnt and never an alarm.
        self._train_rows_left = train_rows or 0

    def step(self, values: Sequence[float | None]) -> Verdict:
        training = self._train_rows_left > 0
        self._train_rows_left -= training
        value = values[0]
        if value is None:
            return Verdict(0.0, self._evidence.is_open)
        unrest = self._novelty.unrest(value)
        young = self._novelty.warming_up
        surprise = self._novelty.step(value)
        remarkable = max(surprise, self._portrait.step(self._novelty.position(value)))
        calibrated = 0.0 if young else self._calibration.step(remarkable, unrest)
        self._event = follow(self._hold_off, self._event, 0.0 if training else surprise, self._readings)
        self._evidence = weigh(self._patience, self._evidence, 0.0 if training else remarkable, self._readings)
        self._readings += 1
        if self._event.begins:
            published = _of_first_sign(surprise - self._hold_off.threshold)
        else:
            published = _below_first_sign(calibrated)
        return Verdict(score_of(published), self._evidence.is_open)

    def state(self) -> State:
        return {
            "kind": self.KIND,
            "novelty": self._novelty.state(),
            "portrait": self._portrait.state(),
            "calibration": self._calibration.state(),
            "event": list(self._event),
            "evidence": list(self._evidence),
            "readings": self._readings,
            "train_rows_left": self._train_rows_left,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        if state.get("kind") != self.KIND:
            raise ValueError(f"this is the state of {state.get('kind')!r}, not of {self.KIND!r}")
        try:
            self._novelty.restore(state["novelty"])
            self._portrait.restore(state["portrait"])
            self._calibration.restore(state["calibration"])
            self._event, self._evidence = EventState(*state["event"]), Evidence(*state["evidence"])
            self._readings = int(state["readings"])
            self._train_rows_left = int(state["train_rows_left"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"a {self.KIND} state is incomplete: {error!r}") from None


def _of_first_sign(beyond: float) -> float:
    """In steps, from what is just a first sign upwards."""
    return min(_FIRST_SIGN + _FIRST_SIGN_STEP * math.floor(beyond / _FIRST_SIGN_STEP), SURPRISE_MAX)


def _below_first_sign(calibrated: float) -> float:
    """In order, but below what a first sign gets."""
    beyond = calibrated - _PLAIN_UP_TO
    return _PLAIN_UP_TO + _ROOM * -math.expm1(-beyond) if beyond > 0.0 else calibrated
