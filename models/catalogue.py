"""The training catalogue: which configurations there are, and for what machines each is meant.

`auto` chooses by one thing only, how often a machine says something; nothing about a file's name or values decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final, NamedTuple

from plantwatch.watch_config import WatchConfig

AUTO: Final = "auto"
STANDARD: Final = "standard"
SLOW: Final = "slow"
# Ten readings of the strangest kind open an incident: from here on that takes longer than a shift's round.
SLOW_FROM_S: Final = 30.0


class Entry(NamedTuple):
    """A configuration, and the machines that it is meant for."""

    config: WatchConfig
    meant_for: str


def _slow() -> WatchConfig:
    """Calm lasts some readings, whatever their distance, and a new normal is believed after a day."""
    config = WatchConfig()
    policy = replace(config.process_policy, clear_after_s=1800.0)
    return replace(config, process_policy=policy, accept_after_s=24 * 3600.0)


CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        STANDARD: Entry(WatchConfig(), f"a reading each {SLOW_FROM_S:g} s or more often"),
        SLOW: Entry(_slow(), "a reading each minute or each some minutes"),
    }
)


def configuration(name: str, interval_s: float) -> WatchConfig:
    """The entry `name`, or for `auto` the one that is meant for machines of this usual interval. KeyError."""
    if name == AUTO:
        name = SLOW if interval_s >= SLOW_FROM_S else STANDARD
    return CATALOGUE[name].config
