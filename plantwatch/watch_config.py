"""All that decides how readings are judged, under one name: the model bundle's digest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final

from plantwatch.detectors.base import SURPRISE_MAX
from plantwatch.detectors.novelty import Novelty, NoveltyParameters
from plantwatch.policy import AlertPolicy
from plantwatch.quality import QualityLimits
from plantwatch.states.rules import StateRules

# A sensor's fault is a fact, not a chance: what counts is how many readings say so (see FAULT_SURPRISE in `machine`).
# It is worth a look today, never at once: no surprise reaches `high_at`.
SENSOR_POLICY: Final = AlertPolicy(
    reading_max=SURPRISE_MAX, open_at=9.0, evidence_max=10.0, medium_at=6.0, high_at=2 * SURPRISE_MAX
)


@dataclass(frozen=True)
class WatchConfig:
    """Parameters of detectors, checks and policies. Two runtimes with the same `digest` judge alike."""

    detector: NoveltyParameters = field(default_factory=NoveltyParameters)
    process_policy: AlertPolicy = field(default_factory=AlertPolicy)
    sensor_policy: AlertPolicy = SENSOR_POLICY
    quality: QualityLimits = field(default_factory=QualityLimits)
    accept_after_s: float = 6 * 3600.0
    """How long an incident stays open before its values are learnt as a new normal: nobody repaired it in a shift."""
    states: StateRules = field(default_factory=StateRules)
    """Which states a machine has; each is scored by itself, and one that is not watched not at all."""

    def __post_init__(self) -> None:
        if not self.accept_after_s > 0:
            raise ValueError(f"accept_after_s is {self.accept_after_s}; it must be positive")

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the detector's kind and the canonical JSON of all parameters, 16 hexadecimal digits."""
        canonical = json.dumps({Novelty.KIND: self.plain()}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def plain(self) -> dict[str, Any]:
        """All parameters as plain values. Without rules of states nothing is said of states: the digest of a
        configuration is what it was before there were any, and so a memory learnt then is still good."""
        fields = asdict(self)
        if not self.states.rules:
            del fields["states"]
        return fields
