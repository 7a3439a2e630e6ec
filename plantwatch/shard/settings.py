"""The settings of whoever works on shards: the consumer's process and the Lambda function have these in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from plantwatch.bundle import runtime as bundles

# Of the environment variables: the prefix + the field's name in capitals.
PREFIX: Final = "PLANTWATCH_"


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """One tenant in one region."""

    tenant: str
    region: str
    stream_arn: str
    application: str
    """Whose states of the shards are gone on with."""
    results_table: str
    alerts_topic_arn: str
    lake_bucket: str
    active_region_parameter: str
    # Who may publish for other devices, by name or pattern. Nobody by default: a thing named like a gateway is none.
    gateways: tuple[str, ...] = ()
    # The model bundle's file; empty: the default configuration, and each machine learns from its own readings alone.
    # What a gateway has scored is adopted only where both have the same one.
    bundle_path: str = ""
    # Maintenance windows (`plantwatch calendar` writes them); empty: none is known.
    maintenance_path: str = ""
    anomaly_score_min: float = 0.999

    def shared_problems(self) -> list[str]:
        """What is wrong with these, for `__post_init__`."""
        problems = bundles.problems(self.bundle_path, self.maintenance_path)
        if not 0 < self.anomaly_score_min <= 1:
            problems.append(f"anomaly_score_min must be in (0, 1], not {self.anomaly_score_min}")
        return problems
