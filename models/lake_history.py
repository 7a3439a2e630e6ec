"""The machines of a data lake as series: read once, day by day, into a file a machine, and from there ever after.

The lake lies in a bucket or in a folder of the same layout (`plantwatch.aws.lake`). Regions hold the same readings;
each counts once. Only one day is in memory at a time.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from models.history import InvalidHistory, Series
from models.stores import ObjectStore
from plantwatch.names import READINGS_PREFIX
from plantwatch.telemetry import (
    EpochMs,
    InvalidReading,
    Reading,
    checked_name,
    finite,
    isoformat,
    parse_timestamp,
    signal_name,
)

_DAY = re.compile(r"/day=(\d{4}-\d{2}-\d{2})/[^/]+\.jsonl\.gz$")
# A flush holds at most some ten thousand rows of 1 kB; beyond this it is no object of ours.
_OBJECT_BYTES_MAX: Final = 256 * 1024 * 1024


class Period(NamedTuple):
    """Observed times that are wanted, both included; None is open."""

    since: EpochMs | None = None
    until: EpochMs | None = None

    def holds(self, at: EpochMs) -> bool:
        return (self.since is None or self.since <= at) and (self.until is None or at <= self.until)

    def may_hold(self, day: str) -> bool:
        return (self.since is None or isoformat(self.since)[:10] <= day) and (
            self.until is None or day <= isoformat(self.until)[:10]
        )


def lake_series(store: ObjectStore, folder: Path, *, tenant: str, period: Period) -> tuple[Series, ...]:
    """The machines of `tenant` that the lake knows in `period`. Their readings are copied into `folder`."""
    for _, names in _by_day(store, tenant, period):
        _copy(store, names, folder, tenant, period)
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise InvalidHistory(f"{store.place}: no readings of tenant {tenant!r} in that time")
    return tuple(_series(file, store.place, tenant) for file in files)


def _by_day(store: ObjectStore, tenant: str, period: Period) -> Iterator[tuple[str, list[str]]]:
    days: dict[str, list[str]] = {}
    for name in store.names(f"{READINGS_PREFIX}tenant={tenant}/"):
        found = _DAY.search(name)
        if found and period.may_hold(found[1]):
            days.setdefault(found[1], []).append(name)
    return iter(sorted(days.items()))


def _copy(store: ObjectStore, names: Iterable[str], folder: Path, tenant: str, period: Period) -> None:
    """One day's readings to the files of their machines, in the order of their times, each once."""
    day: dict[str, dict[str, Reading]] = {}
    for name in names:
        for number, line in enumerate(_lines(store, name), start=1):
            try:
                key, reading = _reading(json.loads(line), tenant)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InvalidHistory(f"{store.place}/{name}: line {number}: {error!r:.160}") from None
            if period.holds(reading.observed_at):
                day.setdefault(reading.device, {}).setdefault(key, reading)
    for device, readings in day.items():
        with (folder / f"{device}.jsonl").open("a") as file:
            for reading in sorted(readings.values(), key=lambda reading: reading.observed_at):
                content = [reading.observed_at, reading.signals, reading.missing, reading.attributes]
                file.write(json.dumps(content, separators=(",", ":")) + "\n")


def _lines(store: ObjectStore, name: str) -> list[bytes]:
    found = store.get(name)
    if found is None:  # expired between the listing and now
        return []
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        body = inflater.decompress(found.body, _OBJECT_BYTES_MAX)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise InvalidHistory(f"{store.place}/{name}: no gzip: {error}") from None
    if inflater.unconsumed_tail or not inflater.eof:
        raise InvalidHistory(f"{store.place}/{name}: cut off, or larger than {_OBJECT_BYTES_MAX} bytes")
    return body.splitlines()


def _reading(fields: dict[str, Any], tenant: str) -> tuple[str, Reading]:
    """The reading of one row, and its key. What it was scored by then does not matter here."""
    at = parse_timestamp(fields["observed_at"], received_at=0)
    if fields["tenant"] != tenant:
        raise InvalidHistory(f"belongs to tenant {fields['tenant']!r:.40}")
    signals = {signal_name(name): finite(name, value) for name, value in fields["signals"].items()}
    missing = tuple(signal_name(name) for name in fields["missing"])
    attributes = {str(name): str(value) for name, value in fields["attributes"].items()}
    reading = Reading(tenant, checked_name(fields["device"]), at, at, signals, attributes, missing)
    return str(fields["key"]), reading


def _series(file: Path, place: str, tenant: str) -> Series:
    device = file.stem
    return Series(tenant, device, f"{place.rstrip('/')}#{device}", lambda: _copied(file, tenant, device))


def _copied(file: Path, tenant: str, device: str) -> Iterator[Reading]:
    with file.open() as lines:
        for line in lines:
            at, signals, missing, attributes = json.loads(line)
            yield Reading(tenant, device, at, at, signals, attributes, tuple(missing))


def period_of(since: str | None, until: str | None) -> Period:
    """A period from what a user wrote; InvalidHistory for what is no time."""
    try:
        ends = [None if text is None else parse_timestamp(text, received_at=0) for text in (since, until)]
    except InvalidReading as error:
        raise InvalidHistory(str(error)) from None
    period = Period(*ends)
    if period.since is not None and period.until is not None and period.until < period.since:
        raise InvalidHistory(f"until {until} is before since {since}")
    return period
