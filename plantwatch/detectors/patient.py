"""Patient novelty: the live pipeline's detector and alert policy as a detector of series with one signal.

Idea. `Novelty` says how strange a value is, `policy.decide` adds the surprises up and opens an alert when strangeness
lasts. Rows have no clock here, so a row counts as one second: an alert clears after 60 rows without evidence.

When it misleads. As `Novelty` does; and whatever is over within four rows is scored but never an alarm.

>>> detector = PatientNovelty()
>>> verdicts = [detector.step((20.0 + turn % 7,)) for turn in range(2000)]
>>> max(verdict.score for verdict in verdicts[1000:]), any(verdict.alarm for verdict in verdicts)
(0.0, False)
>>> [detector.step((90.0,)).alarm for _ in range(20)][-1]
True
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from plantwatch import native
from plantwatch.detectors.base import score_of
from plantwatch.detectors.novelty import NoveltyParameters
from plantwatch.detectors.series import Verdict
from plantwatch.policy import WATCHING, AlertPolicy, decide

_ROW_MS: Final = 1000


class PatientNovelty:
    """One signal: surprise by `Novelty`, alarm by the alert policy. See the module's docstring."""

    def __init__(self, policy: AlertPolicy | None = None) -> None:
        self._novelty = native.novelty(NoveltyParameters())
        self._policy = policy or AlertPolicy()
        self._state = WATCHING
        self._rows = 0

    def step(self, values: Sequence[float | None]) -> Verdict:
        self._rows += 1
        value = values[0]
        if value is None:
            return Verdict(0.0, self._state.is_open)
        surprise = self._novelty.step(value)
        self._state, _ = decide(self._policy, self._state, surprise, self._rows * _ROW_MS)
        return Verdict(score_of(surprise), self._state.is_open)
