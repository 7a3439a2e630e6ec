"""Learn a `Prior` from a fleet: lay memories over one another, and leave one machine out to see how it would have done.

Idea. Each machine's own detector leaves a memory of the values it has met. Together, on one grid, they are what the
fleet knows. How much of a new machine's ordinary running would that be news to? Nobody can tell but by trying: each
machine is held against the memory of the others as if it were new, and the share of its readings that is novel, and by
how much, becomes the tail of the prior. A fleet whose machines are alike thus gets a sharp prior, one whose machines
differ a patient one.

When it misleads. A fault in the recordings is met like anything else. Machines that lie outside all others say nothing
about how a machine that belongs to the others would look; they are left out of the tail, and where most are like that
there is no prior: the machines have nothing in common that would help a new one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Final

from plantwatch.detectors.base import State
from plantwatch.detectors.novelty import CELLS, Novelty, NoveltyParameters
from plantwatch.detectors.prior import MET, PRIOR_CELLS, UNMET, Prior, PriorView, cells_of

# The other half is room on both sides, so that a new machine a little off still lies on the grid.
_RANGE_CELLS_MAX: Final = CELLS // 2
# As in the detector: a quantised signal may deviate by less than a cell.
_DEVIATION_CELLS_MIN: Final = 2.0
# One wild reading in a recording must not make the prior deaf.
_NOVELTY_MAX: Final = 4.0
# A machine most of whose readings are news to the others is not one of them.
_STRANGER: Final = 0.5


@dataclass(slots=True)
class Tail:
    """How novel readings were: how many there were, and of each view how many were novel and by how much in sum."""

    readings: float = 0.0
    novel: dict[str, float] = field(default_factory=lambda: {"raw": 0.0, "slow": 0.0})
    excess: dict[str, float] = field(default_factory=lambda: {"raw": 0.0, "slow": 0.0})

    @property
    def is_a_strangers(self) -> bool:
        return max(self.novel.values()) > _STRANGER * self.readings


class Newcomer:
    """One signal of a machine, held against what others know. It learns nothing."""

    def __init__(self, others: Prior, parameters: NoveltyParameters) -> None:
        self.tail = Tail()
        self._others = others
        self._weight = 1.0 / parameters.mean_readings
        self._near = parameters.near
        self._slow: float | None = None
        self._gaps = {name: _gaps(view.cells) for name, view in others.views().items()}

    def step(self, value: float) -> None:
        position = self._others.position(value)
        before = position if self._slow is None else self._slow
        self._slow = before + self._weight * (position - before)
        self.tail.readings += 1
        self._note("raw", position, self._others.raw)
        self._note("slow", self._slow, self._others.slow)

    def _note(self, name: str, position: float, view: PriorView) -> None:
        gap = self._gaps[name][int(position)]
        beyond = gap / max(math.sqrt(view.variance), _DEVIATION_CELLS_MIN) - self._near
        if beyond > 0.0:
            self.tail.novel[name] += 1
            self.tail.excess[name] += min(beyond, _NOVELTY_MAX)


def merged(memories: Iterable[State]) -> Prior | None:
    """The memories of several detectors of one signal as one, without a tail. None where no signal ever varied."""
    known = [_Memory(state) for state in memories if "_low" in state["scalars"]]
    known = [memory for memory in known if memory.band is not None]
    if not known:
        return None
    low, inverse = _grid(known)
    return Prior(
        machines=len(known),
        readings=sum(memory.readings for memory in known),
        low=low,
        inverse=inverse,
        centre=min(max(fmean((memory.centre - low) * inverse for memory in known), 0.0), float(CELLS)),
        weight=0.0,
        raw=_view("raw", known, low, inverse),
        slow=_view("slow", known, low, inverse),
    )


def with_tail(prior: Prior, tails: Sequence[Tail], weight_max: float) -> Prior | None:
    """The prior with the experience of those newcomers that belong to it; None where most do not."""
    own = [tail for tail in tails if not tail.is_a_strangers]
    if 2 * len(own) < len(tails):
        return None
    readings = sum(tail.readings for tail in own)
    if not readings:
        return prior
    weight = min(readings, weight_max)
    raw, slow = (
        replace(
            view,
            count=sum(tail.novel[name] for tail in own) * weight / readings,
            excess=sum(tail.excess[name] for tail in own) * weight / readings,
        )
        for name, view in prior.views().items()
    )
    return replace(prior, weight=float(weight), raw=raw, slow=slow)


def memory_of(values: Iterable[float], parameters: NoveltyParameters) -> State:
    """What a detector that saw these values knows of them."""
    detector = Novelty(parameters)
    for value in values:
        detector.step(value)
    return detector.state()


class _Memory:
    """A detector's state in the signal's own unit."""

    def __init__(self, state: State) -> None:
        scalars: Mapping[str, Any] = state["scalars"]
        self.low, self.inverse = scalars["_low"], scalars["_inverse"]
        self.centre = self.low + scalars["_centre"] / self.inverse
        self.readings = max(1, scalars["_readings"])
        self.cells: dict[str, bytes] = {}
        self.variance: dict[str, float] = {}
        for name, (cells, numbers) in zip(("raw", "slow"), state["views"], strict=True):
            self.cells[name] = cells_of(cells)
            self.variance[name] = numbers[0] / self.inverse**2

    @property
    def band(self) -> tuple[float, float] | None:
        """From the lowest to the highest cell that was ever met, waiting ones included: the recording is normal."""
        met = [cells for cells in self.cells.values() if any(cells)]
        if len(met) < len(self.cells):
            return None
        lowest = min(len(cells) - len(cells.lstrip(b"\0")) for cells in met)
        highest = max(len(cells.rstrip(b"\0")) for cells in met)
        return self.low + lowest / self.inverse, self.low + highest / self.inverse


def _grid(memories: Sequence[_Memory]) -> tuple[float, float]:
    """The lower edge and the cells per unit of a grid for all: as fine as theirs, as far as they all fit."""
    bands = [memory.band for memory in memories if memory.band is not None]
    low, high = min(band[0] for band in bands), max(band[1] for band in bands)
    cell = max(median(1.0 / memory.inverse for memory in memories), (high - low) / _RANGE_CELLS_MAX)
    return (low / 2.0 + high / 2.0) - CELLS / 2.0 * cell, 1.0 / cell


def _view(name: str, memories: Sequence[_Memory], low: float, inverse: float) -> PriorView:
    cells = bytearray(PRIOR_CELLS)
    for memory in memories:
        scale, shift = inverse / memory.inverse, (memory.low - low) * inverse
        for cell, met in enumerate(memory.cells[name]):
            if met:
                begin, end = cell * scale + shift, (cell + 1) * scale + shift
                # Any cell that it touches; an edge that differs by a rounding error touches nothing.
                first, last = max(0, int(begin + 1e-6)), min(PRIOR_CELLS - 1, math.ceil(end - 1e-6) - 1)
                cells[first : last + 1] = bytes([MET]) * (last + 1 - first)
    variance = median(memory.variance[name] for memory in memories) * inverse**2
    return PriorView(bytes(cells), variance, 0.0, 0.0)


def _gaps(cells: bytes) -> list[float]:
    """Of each cell: how many cells lie between it and the nearest met one."""
    met = [cell for cell, value in enumerate(cells) if value != UNMET]
    gaps = [0.0] * len(cells)
    for cell in range(met[0]):
        gaps[cell] = met[0] - cell - 0.5
    for cell in range(met[-1] + 1, len(cells)):
        gaps[cell] = cell - met[-1] - 0.5
    for before, after in pairwise(met):
        for cell in range(before + 1, after):
            gaps[cell] = min(cell - before, after - cell) - 0.5
    return gaps
