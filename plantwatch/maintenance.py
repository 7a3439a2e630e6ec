"""Maintenance windows: when somebody works on a machine, and nothing that it says is normal or worth a call.

During a window every reading is checked and scored as ever, nothing is learnt as normal, and no incident opens; one
that is open stays open. Time is the reading's observed time, so that a replay meets the same windows.

Windows are operations, not judgement: they are no part of the model bundle's digest. A calendar that changes every week
must not make a gateway forget what it has learnt, which another digest would do.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Final, NamedTuple

from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import OBSERVED_AT_MAX, OBSERVED_AT_MIN, EpochMs

# One a day for 27 years, or three shifts a day for nine; a second's look-up at start, 1 MB at most.
WINDOWS_MAX: Final = 10_000
# A line of a list; calendars put whole e-mails into a summary.
NAME_CHARS_MAX: Final = 80
EVERY_DEVICE: Final = "*"


class MaintenanceWindow(NamedTuple):
    """From `begins_at` (in it) to `ends_at` (no longer in it) somebody works on the devices that match `devices`."""

    begins_at: EpochMs
    ends_at: EpochMs
    name: str = ""
    devices: str = EVERY_DEVICE
    """A pattern as in a shell: `pump-*`."""


class Schedule:
    """The windows of one device. Where several overlap, the one that begins first gives the name."""

    __slots__ = ("_windows", "_begins")

    def __init__(self, windows: Iterable[MaintenanceWindow]) -> None:
        self._windows = _merged(windows)
        self._begins = [window.begins_at for window in self._windows]

    def at(self, at: EpochMs) -> MaintenanceWindow | None:
        """The window that `at` lies in."""
        index = bisect_right(self._begins, at) - 1
        if index < 0 or at >= self._windows[index].ends_at:
            return None
        return self._windows[index]

    def touches(self, after: EpochMs, until: EpochMs) -> bool:
        """Whether any of the time from `after` to `until` is in a window."""
        index = bisect_right(self._begins, until) - 1
        return index >= 0 and self._windows[index].ends_at > after


class Maintenance:
    """All windows of a plant: at most 10,000."""

    def __init__(self, windows: Iterable[MaintenanceWindow] = ()) -> None:
        self.windows = tuple(windows)
        if problems := _problems(self.windows):
            raise InvalidSettings(problems)

    def of(self, device: str) -> Schedule | None:
        """The device's own windows; None where it has none."""
        own = [window for window in self.windows if fnmatchcase(device, window.devices)]
        return Schedule(own) if own else None


def windows_text(windows: Iterable[MaintenanceWindow]) -> str:
    """The windows as a JSON file, one a line, for `windows_from`."""
    lines = (json.dumps(window._asdict(), ensure_ascii=False) for window in windows)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def windows_from(text: str) -> Maintenance:
    """The windows of a JSON file. InvalidSettings names every one that is none."""
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidSettings([f"maintenance windows: no JSON: {error}"]) from None
    if type(items) is not list:
        raise InvalidSettings([f"maintenance windows: a list is wanted, not {type(items).__name__}"])
    return Maintenance(_window(index, item) for index, item in enumerate(items))


def _window(index: int, item: Any) -> MaintenanceWindow:
    known = MaintenanceWindow._fields
    if not isinstance(item, Mapping) or not set(item) <= set(known) or not {"begins_at", "ends_at"} <= set(item):
        raise InvalidSettings([f"maintenance window {index}: an object of {', '.join(known)} is wanted"])
    return MaintenanceWindow(**item)


def _problems(windows: tuple[MaintenanceWindow, ...]) -> list[str]:
    if len(windows) > WINDOWS_MAX:
        return [f"{len(windows)} maintenance windows, at most {WINDOWS_MAX} are allowed"]
    problems = []
    for index, window in enumerate(windows):
        if type(window.begins_at) is not int or type(window.ends_at) is not int:
            problems.append(f"maintenance window {index}: its times are not whole milliseconds")
        elif not OBSERVED_AT_MIN <= window.begins_at < window.ends_at <= OBSERVED_AT_MAX:
            problems.append(f"maintenance window {index}: it does not begin before it ends, between 1990 and 2100")
        if type(window.name) is not str or type(window.devices) is not str or not window.devices:
            problems.append(f"maintenance window {index}: its name or devices is no text")
    return problems


def _merged(windows: Iterable[MaintenanceWindow]) -> list[MaintenanceWindow]:
    merged: list[MaintenanceWindow] = []
    for window in sorted(windows):
        if merged and window.begins_at <= merged[-1].ends_at:
            merged[-1] = merged[-1]._replace(ends_at=max(merged[-1].ends_at, window.ends_at))
        else:
            merged.append(window)
    assert all(earlier.ends_at < later.begins_at for earlier, later in pairwise(merged))
    return merged
