"""What a fleet of one type knows of a signal: with it a new machine of the type need not begin with nothing.

A prior is the memory of a `Novelty` detector on which the memories of several are laid over one another: the values
that any of them has met, the spread of a typical one, and how strange each machine's readings were to the memory of the
others (`plantwatch.detectors.fleet` learns it). It holds numbers and bytes only, and is never changed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from plantwatch.detectors.base import State
from plantwatch.detectors.novelty import CELLS, Novelty
from plantwatch.detectors.relation import Relation

# One more than the grid has, as in the detector.
PRIOR_CELLS: Final = CELLS + 1
UNMET, MET = 0, 3
# The detector's own limit: beyond it a grid would not fit into a float's range.
_INVERSE_MIN: Final = 1e-290


def _check(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


@dataclass(frozen=True, slots=True)
class PriorView:
    """One view (the reading, or its short mean): which cells have been met, and the tail of what is novel to them."""

    cells: bytes
    """PRIOR_CELLS bytes, each UNMET or MET."""
    variance: float
    """Of positions, in cells squared: a typical machine's."""
    count: float
    """Novel readings among `Prior.weight` readings of a machine that is new to the others."""
    excess: float
    """The sum of their novelties, in standard deviations."""

    def __post_init__(self) -> None:
        _check(len(self.cells) == PRIOR_CELLS, f"{len(self.cells)} cells; expected {PRIOR_CELLS}")
        _check(set(self.cells) <= {UNMET, MET}, "a cell is neither unmet nor met")
        _check(MET in self.cells, "no cell has been met")
        for name in ("variance", "count", "excess"):
            _check(0.0 <= getattr(self, name) < math.inf, f"{name} is {getattr(self, name)}; it must be 0 or more")


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known of a signal before a machine's first reading. ValueError where the numbers make no sense."""

    machines: int
    """How many machines it was learnt from."""
    readings: int
    """How many readings of theirs."""
    low: float
    """The value at the lower edge of the first cell."""
    inverse: float
    """Cells per unit of the signal."""
    centre: float
    """The mean, as a position in cells."""
    weight: float
    """Readings that the tails rest on."""
    raw: PriorView
    slow: PriorView

    def __post_init__(self) -> None:
        _check(self.machines >= 1, f"machines is {self.machines}; it must be at least 1")
        _check(self.readings >= 1, f"readings is {self.readings}; it must be at least 1")
        _check(math.isfinite(self.low), f"low is {self.low}; it must be finite")
        _check(_INVERSE_MIN <= self.inverse < math.inf, f"inverse is {self.inverse}; no grid is like that")
        _check(math.isfinite(self.low + CELLS / self.inverse), f"the grid has no end: {self.low}, {self.inverse}")
        _check(0.0 <= self.centre <= CELLS, f"centre is {self.centre}; it must be within the grid")
        _check(0.0 <= self.weight < math.inf, f"weight is {self.weight}; it must be 0 or more")
        most = max(self.raw.count, self.slow.count)
        _check(most <= self.weight, f"{most} novel readings among {self.weight}")

    def state(self, age: int, block: int) -> State:
        """The state of a `Novelty` that has this memory, `age` readings of experience and blocks of so many readings.

        Its short mean is at the centre; a detector that begins sets it to its first value.
        """
        return {
            "kind": Novelty.KIND,
            "scalars": {
                "_low": self.low, "_inverse": self.inverse, "_first_low": 0.0, "_first_high": 0.0,
                "_slow_position": self.centre, "_centre": self.centre, "_readings": age, "_block": block,
                "_block_left": block, "_weight": self.weight, "_beyond": 0, "_frozen": False,
            },
            "views": [
                [base64.b64encode(view.cells).decode(), [view.variance, view.count, view.excess, 0.0, 0.0]]
                for view in (self.raw, self.slow)
            ],
        }  # fmt: skip

    def position(self, value: float) -> float:
        """Where a value lies on the grid, in cells; at its edge where it lies beyond."""
        return min(max((value - self.low) * self.inverse, 0.0), float(CELLS))

    def numbers(self) -> dict[str, Any]:
        """All of it but the cells, by name."""
        own = ("machines", "readings", "low", "inverse", "centre", "weight")
        return {name: getattr(self, name) for name in own} | {
            name: {field: getattr(view, field) for field in ("variance", "count", "excess")}
            for name, view in self.views().items()
        }

    def views(self) -> dict[str, PriorView]:
        return {"raw": self.raw, "slow": self.slow}

    def band(self) -> tuple[float, float]:
        """From the lowest to the highest value met, in the signal's unit."""
        lowest, highest = self.raw.cells.find(MET), self.raw.cells.rfind(MET)
        return self.low + lowest / self.inverse, self.low + (highest + 1) / self.inverse


def cells_of(text: str) -> bytes:
    """The cells of one view in a detector's state."""
    return base64.b64decode(text)


@dataclass(frozen=True, slots=True)
class FleetKnowledge:
    """All that a new machine of a type begins with. ValueError where its parts do not fit together."""

    priors: Mapping[str, Prior] = field(default_factory=dict)
    """By signal."""
    relation: Relation | None = None
    """How signals follow one another, where they do."""
    deviations: Mapping[str, Prior] = field(default_factory=dict)
    """By target of the relation: of its deviations from what the others say."""

    def __post_init__(self) -> None:
        targets = set(self.relation.targets) if self.relation else set()
        _check(targets == set(self.deviations), "the relation's targets and the priors of deviations differ")

    def __bool__(self) -> bool:
        return bool(self.priors or self.relation)

    def plain(self) -> dict[str, Any]:
        """As JSON can hold it, with the cells by their digests."""
        known = {name: _plain(priors) for name, priors in (("priors", self.priors), ("deviations", self.deviations))}
        return known | {"relation": self.relation and self.relation.plain()}


NOTHING_KNOWN: Final = FleetKnowledge()


def judgement_digest(config_digest: str, knowledge: FleetKnowledge) -> str:
    """16 hexadecimal digits that name how readings are judged: by parameters, and by what is known of the fleet where
    anything is."""
    if not knowledge:
        return config_digest
    canonical = json.dumps({"config": config_digest, **knowledge.plain()}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(priors: Mapping[str, Prior]) -> dict[str, Any]:
    return {
        signal: prior.numbers()
        | {f"{name}_cells": hashlib.sha256(view.cells).hexdigest() for name, view in prior.views().items()}
        for signal, prior in priors.items()
    }
