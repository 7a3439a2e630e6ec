"""A Bundle: all that decides how readings are judged, with where it came from and what may be expected of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import Final, NamedTuple

from plantwatch.detectors.prior import FleetKnowledge, Prior, judgement_digest
from plantwatch.detectors.relation import Relation
from plantwatch.telemetry import SIGNALS_MAX, EpochMs, storable
from plantwatch.watch_config import WatchConfig

# A fleet large enough for any prior; and each name is in the manifest.
SOURCES_MAX: Final = 1000
# What file systems allow.
SOURCE_CHARS_MAX: Final = 255
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}")


class BundleProblem(StrEnum):
    """Why a bundle is refused. Closed: it is also a metric's dimension."""

    NOT_A_BUNDLE = "not_a_bundle"
    TOO_LARGE = "too_large"
    SIZE = "size"
    """Bytes are missing or left over."""
    SCHEMA_VERSION = "schema_version"
    DIGEST = "digest"
    MANIFEST = "manifest"
    """A field of the manifest is missing, unknown or of the wrong type."""
    CONFIG = "config"
    MISSING_ARRAY = "missing_array"
    UNKNOWN_ARRAY = "unknown_array"
    DTYPE = "dtype"
    SHAPE = "shape"
    VALUE = "value"
    """An array or number is well-formed, but no prior can be so."""


class InvalidBundle(ValueError):
    """The file is no bundle that this version can judge by. `reason` is the problem's name, `detail` where it is."""

    def __init__(self, reason: BundleProblem, detail: str) -> None:
        detail = storable(detail)
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Training(NamedTuple):
    """The data that a bundle was learnt from, so that anybody can tell whether it was the same."""

    sha256: str
    """Of the files' own digests, in the order of their names."""
    rows: int
    machines: int
    first: EpochMs
    last: EpochMs
    sources: tuple[str, ...]
    """The files' names, without folders."""


class Calibration(NamedTuple):
    """What the bundle makes of its own training data: each machine watched as if it were new to the others."""

    readings: int
    machine_days: float
    alerts: int
    scores: tuple[tuple[float, float], ...]
    """(share of readings, the score that they do not exceed), by rising share."""

    @property
    def none_text(self) -> str:
        """What no alert in this time says of the rate: the rule of three (Hanley and Lippman-Hand, 1983)."""
        return f"fewer than {3.0 / self.machine_days:.2g} a day (95 %)"


@dataclass(frozen=True)
class Bundle:
    """Parameters, and for the signals of one machine type what its fleet knows of them.

    `digest` names how it judges: equal for bundles that judge alike, whatever they are called and learnt from. Without
    priors it is that of the parameters alone.
    """

    name: str
    machine_type: str = ""
    config: WatchConfig = field(default_factory=WatchConfig)
    priors: Mapping[str, Prior] = field(default_factory=dict)
    training: Training | None = None
    calibration: Calibration | None = None
    expected_alerts_per_day: float | None = None
    """Of one machine that is well; None where the data could not say."""
    created_at: EpochMs = 0
    relation: Relation | None = None
    """How its signals follow one another, where they do."""
    deviations: Mapping[str, Prior] = field(default_factory=dict)
    """By target of the relation: what is known of its deviations from what the others say."""

    def __post_init__(self) -> None:
        for what, text in (("name", self.name), ("machine_type", self.machine_type or "any")):
            if not _NAME.fullmatch(text):
                raise ValueError(f"{what} {text[:40]!r}: letters, digits and . _ : - are allowed, at most 128")
        if len(self.priors) > SIGNALS_MAX:
            raise ValueError(f"{len(self.priors)} signals, at most {SIGNALS_MAX} are allowed")
        sources = self.training.sources if self.training else ()
        if len(sources) > SOURCES_MAX or any(len(source) > SOURCE_CHARS_MAX for source in sources):
            raise ValueError(f"{len(sources)} sources; at most {SOURCES_MAX}, of {SOURCE_CHARS_MAX} characters each")
        for known in ("priors", "deviations"):
            object.__setattr__(self, known, MappingProxyType(dict(sorted(getattr(self, known).items()))))
        if self.knowledge.relation is not None and self.config.states.rules:
            raise ValueError(
                "a relation between signals is not known state by state; a bundle has states or a relation"
            )

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits: what goes as `ScoredReading.bundle`."""
        return judgement_digest(self.config.digest, self.knowledge)

    @property
    def knowledge(self) -> FleetKnowledge:
        """What a new machine begins with."""
        return FleetKnowledge(self.priors, self.relation, self.deviations)
