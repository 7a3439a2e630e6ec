"""Every setting of the function: environment variables `PLANTWATCH_` + the field's name in capitals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plantwatch import settings
from plantwatch.bundle import runtime as bundles
from plantwatch.settings import InvalidSettings

PREFIX: Final = "PLANTWATCH_"


@dataclass(frozen=True)
class WarmSettings:
    """One tenant's function in one region. `application` is the consumer's: both keep one state of each shard."""

    tenant: str
    region: str
    stream_arn: str
    application: str
    results_table: str
    alerts_topic_arn: str
    lake_bucket: str
    active_region_parameter: str
    gateways: tuple[str, ...] = ()
    # A file of the deployed zip; empty: the default configuration.
    bundle_path: str = ""
    anomaly_score_min: float = 0.999
    # How long one call may keep failing: the mapping tries again, and time here is paid for.
    patience_s: float = 5.0
    # Taking ends so long before the function's own limit: time for the last writes, each of which may be insisted on.
    stop_before_s: float = 15.0

    def __post_init__(self) -> None:
        problems = bundles.problems(self.bundle_path)
        if not 0 < self.anomaly_score_min <= 1:
            problems.append(f"anomaly_score_min must be in (0, 1], not {self.anomaly_score_min}")
        if self.patience_s <= 0 or self.stop_before_s <= self.patience_s:
            problems.append("patience_s must be greater than 0, and stop_before_s greater than patience_s")
        if problems:
            raise InvalidSettings(problems)


def from_environment(environment: Mapping[str, str]) -> WarmSettings:
    """Raises InvalidSettings with all problems."""
    return settings.load(WarmSettings, environment, prefix=PREFIX)
