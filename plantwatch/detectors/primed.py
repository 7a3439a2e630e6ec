"""A detector that begins with its fleet's memory and ends with its own.

Idea. Two `Novelty` detectors see every value: the *guide*, restored from a `Prior`, and the machine's *own*, which
begins with nothing. Life has three stages:

    trial     the first TRIAL readings: nothing is reported while the guide is held against this machine
    guided    the guide's surprise counts; the own detector learns
    own       after GROWN_UP readings the guide goes: the fleet's spread would hide changes that matter here

While guided, only the guide counts. To ask the young one as well, and believe the smaller surprise, was measured: it
finds half as many faults in the second to fifth minute, since a young detector learns a slow fault as it comes, and it
prevented no false alert (docs/decisions/0012-bundle.md).

A machine that does not fit (another level, another range) is found out in the trial: more than half of its readings
are of a kind that the fleet meets less than once in a hundred. Then the guide goes at once, and the machine warms up
as any machine without a prior; the readings of the trial count. A machine that fits first and is strange later has
changed: that is what an incident is for, and it is not explained away. An incident freezes both detectors; should it be
the machine's habit after all, it is learnt after `WatchConfig.accept_after_s`, as with every other machine.

Cost. Twice the time and memory of one detector while guided, a call more afterwards.

When it misleads. A machine that is already faulty in its trial is taken for one of another level; without a prior its
fault would have been learnt as well. Within GROWN_UP readings a change is seen only as far as it leaves the fleet's
range.
"""

from __future__ import annotations

import math
from typing import Any, Final

from plantwatch import native
from plantwatch.detectors.base import State
from plantwatch.detectors.novelty import NoveltyParameters
from plantwatch.detectors.prior import Prior

# Six seconds at 5 readings/s, half an hour at one a minute; 1/9 of a warm-up. Long enough for the short mean to settle
# (20 readings) and for a share of one half to be told from one of a tenth.
TRIAL: Final = 32
# Surprise that counts against the prior: a reading of the strangest hundredth, as in `policy.AlertPolicy`.
STRANGE: Final = 2.0
# Eight full blocks: from then on a Novelty's false alarms are those of its later life.
GROWN_UP: Final = 4096


class Primed:
    """One signal of a machine whose fleet is known. See the module's docstring."""

    __slots__ = ("_prior", "_own", "_guide", "_guided", "_trial_left", "_strange", "_readings", "_frozen")
    KIND: Final = "primed/1"

    def __init__(self, parameters: NoveltyParameters, prior: Prior) -> None:
        self._prior = prior
        self._own = native.novelty(parameters)
        self._guide = native.novelty(parameters)
        self._guided = True
        self._trial_left = TRIAL
        self._strange = self._readings = 0
        self._frozen = False

    @property
    def warming_up(self) -> bool:
        return self._trial_left > 0 if self._guided else self._own.warming_up

    @property
    def readings_left(self) -> int | None:
        return self._trial_left if self._guided else self._own.readings_left

    @property
    def handle(self) -> int:
        """The own detector's, once it is alone."""
        return 0 if self._guided else self._own.handle

    @property
    def guided(self) -> bool:
        """The fleet's memory still has a say."""
        return self._guided

    def score_one(self, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError(f"a detector takes finite values, not {value}")
        if not self._guided:
            return self._own.score_one(value)
        return 0.0 if self._trial_left else self._guide.score_one(value)

    def learn_one(self, value: float) -> None:
        self.step(value)

    def step(self, value: float) -> float:
        if not self._guided:
            return self._own.step(value)
        if self._trial_left == TRIAL:
            self._begin(value)
        self._own.step(value)
        surprise = self._guide.step(value)
        self._readings += not self._frozen
        if self._trial_left:
            self._try(surprise)
            return 0.0
        if self._readings >= GROWN_UP and not self._own.warming_up:
            self._part()
        return surprise

    def freeze(self) -> None:
        self._frozen = True
        self._own.freeze()
        self._guide.freeze()

    def thaw(self) -> None:
        self._frozen = False
        self._own.thaw()
        self._guide.thaw()

    def expected(self) -> tuple[float, float] | None:
        if not self._guided:
            return self._own.expected()
        return None if self._trial_left else self._guide.expected()

    def state(self) -> State:
        return {
            "kind": self.KIND,
            "own": self._own.state(),
            "guide": self._guide.state() if self._guided else None,
            "numbers": [self._trial_left, self._strange, self._readings, self._frozen],
        }

    def restore(self, state: State) -> None:
        if state.get("kind") != self.KIND:
            raise ValueError(f"this is the state of {state.get('kind')!r}, not of {self.KIND!r}")
        try:
            own, guide, numbers = state["own"], state["guide"], state["numbers"]
            trial_left, strange, readings, frozen = numbers
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"a {self.KIND} state is incomplete: {error!r}") from None
        self._own.restore(own)
        if guide is not None:
            self._guide.restore(guide)
        self._guided = guide is not None
        self._trial_left, self._strange, self._readings, self._frozen = trial_left, strange, readings, frozen

    def _begin(self, value: float) -> None:
        """The guide's short mean begins at the machine's first value."""
        if not math.isfinite(value):
            raise ValueError(f"a detector takes finite values, not {value}")
        parameters = self._own.parameters
        state: dict[str, Any] = dict(self._prior.state(GROWN_UP, parameters.block))
        self._guide.restore(state | {"scalars": state["scalars"] | {"_slow_position": self._prior.position(value)}})
        if self._frozen:
            self._guide.freeze()

    def _try(self, surprise: float) -> None:
        self._strange += surprise >= STRANGE
        self._trial_left -= 1
        if not self._trial_left and self._strange > TRIAL // 2:
            self._part()

    def _part(self) -> None:
        self._guided = False
        self._trial_left = 0
        # Nothing of the fleet is kept.
        self._guide = native.novelty(self._own.parameters)
