"""A shadow run: two bundles on the same readings, and what operators would notice of the change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from models.replay import Found


class Pair(NamedTuple):
    """One stretch of misbehaviour that both found."""

    new: Found
    old: Found

    @property
    def later_s(self) -> float:
        """How much later the new one opened; negative is sooner."""
        return (self.new.opened_at - self.old.opened_at) / 1000


class Difference(NamedTuple):
    """What only the new bundle alerts about, what only the old one does, and what both do."""

    only_new: tuple[Found, ...]
    only_old: tuple[Found, ...]
    both: tuple[Pair, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "only_new": [one.as_json() for one in self.only_new],
            "only_old": [one.as_json() for one in self.only_old],
            "both": [{"new": new.as_json(), "old": old.as_json(), "later_s": Pair(new, old).later_s}
                     for new, old in self.both],
        }  # fmt: skip


def difference(new: Sequence[Found], old: Sequence[Found]) -> Difference:
    """Incidents of one machine and kind that share time are the same one; each is matched once, the earliest first."""
    left = sorted(old, key=_order)
    both, only_new = [], []
    for one in sorted(new, key=_order):
        match = next((other for other in left if _is_same(one, other)), None)
        if match is None:
            only_new.append(one)
        else:
            left.remove(match)
            both.append(Pair(one, match))
    return Difference(tuple(only_new), tuple(left), tuple(both))


def _order(found: Found) -> tuple[str, int]:
    return found.device, found.opened_at


def _is_same(one: Found, other: Found) -> bool:
    return (one.device, one.kind) == (other.device, other.kind) and one.stretch.overlaps(other.stretch)
