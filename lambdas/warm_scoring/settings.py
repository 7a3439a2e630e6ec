"""Every setting of the function: environment variables `PLANTWATCH_` + the field's name in capitals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plantwatch import settings
from plantwatch.settings import InvalidSettings
from plantwatch.shard.settings import PREFIX, ShardSettings


@dataclass(frozen=True, kw_only=True)
class WarmSettings(ShardSettings):
    """One tenant's function in one region. `application` is the consumer's: both keep one state of each shard; files
    are those of the deployed zip."""

    # How long one call may keep failing: the mapping tries again, and time here is paid for.
    patience_s: float = 5.0
    # Taking ends so long before the function's own limit: time for the last writes, each of which may be insisted on.
    stop_before_s: float = 15.0

    def __post_init__(self) -> None:
        problems = self.shared_problems()
        if self.patience_s <= 0 or self.stop_before_s <= self.patience_s:
            problems.append("patience_s must be greater than 0, and stop_before_s greater than patience_s")
        if problems:
            raise InvalidSettings(problems)


def from_environment(environment: Mapping[str, str]) -> WarmSettings:
    """Raises InvalidSettings with all problems."""
    return settings.load(WarmSettings, environment, prefix=PREFIX)
