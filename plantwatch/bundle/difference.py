"""What differs between two bundles, by name: for whoever has to decide on a roll-out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from plantwatch.bundle.manifest import to_manifest
from plantwatch.bundle.model import Bundle

ABSENT: Final = "absent"


class Difference(NamedTuple):
    """One named value that the two do not share; ABSENT where one has none."""

    name: str
    before: Any
    after: Any


def diff(before: Bundle, after: Bundle) -> list[Difference]:
    """By name, in the order of names; empty where the bundles are the same. `digest` differs where judgement does."""
    mine, theirs = ({"digest": bundle.digest, **to_manifest(bundle)} for bundle in (before, after))
    return sorted(_differences("", mine, theirs), key=lambda difference: difference.name)


def _differences(name: str, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in before.keys() | after.keys():
            inner = f"{name}.{key}" if name else str(key)
            yield from _differences(inner, before.get(key, ABSENT), after.get(key, ABSENT))
    elif before != after:
        yield Difference(name, before, after)
