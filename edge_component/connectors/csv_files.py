"""A directory of CSV files: a finished file is read once, in the order of the files' names.

Rows are numbered (`source`, `seq`) as a driver's would be, so that a row is taken once however often its file is read
again. That is how a crash is survived: a file is read again from its beginning unless the journal says that it was
read to its end, and the journal says so only when the spool has all its rows.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge_component.connectors.base import Desk, SourceLost, encoded
from edge_component.connectors.settings import CsvSettings
from edge_component.sources.local_topics import SEQUENCE_KEY, SOURCE_KEY
from plantwatch.csvfile import BadRow, InvalidFile, Row, read_rows
from plantwatch.telemetry import TIMESTAMP_KEY, InvalidReading, checked_name

logger = logging.getLogger(__name__)

_ROWS_PER_MESSAGE: Final = 100
# Bad rows of one file that are named in the log; the others are counted.
_NAMED_MAX: Final = 10


class Seen(NamedTuple):
    """A file as it was when it was looked at; the same again is the same file, unchanged."""

    size: int
    modified_ns: int
    inode: int


class Journal:
    """Which files were read to their end; durable. It forgets what is no longer in the directory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[str, Seen] = {}
        if path.exists():
            try:
                self._done = {name: Seen(*seen) for name, seen in json.loads(path.read_text()).items()}
            except (ValueError, TypeError, AttributeError) as error:
                # Rows are numbered: what is read again is dropped by the intake.
                logger.warning("%s: damaged, its files are read again: %s", path, error)

    def has(self, name: str, seen: Seen) -> bool:
        return self._done.get(name) == seen

    def add(self, name: str, seen: Seen, present: Mapping[str, Seen]) -> None:
        self._done = {known: was for known, was in self._done.items() if known in present} | {name: seen}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(".partial")
        with partial.open("w") as file:
            json.dump(self._done, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)


class CsvLink:
    """One directory."""

    def __init__(self, settings: CsvSettings, state_dir: Path) -> None:
        self.reads = f"csv {settings.directory}"
        self._settings = settings
        self._journal = Journal(state_dir / f"csv-{settings.name}.json")
        self._first_seen: dict[str, tuple[Seen, float]] = {}
        self._refused: dict[str, Seen] = {}

    async def run(self, desk: Desk) -> None:
        self._scan()
        desk.up()
        while True:
            present = self._scan()
            for name, seen in self._finished(present, time.monotonic()):
                await self._read(name, seen, present, desk)
            await asyncio.sleep(self._settings.scan_interval_s)

    def _scan(self) -> dict[str, Seen]:
        try:
            with os.scandir(self._settings.directory) as entries:
                found = {entry.name: entry.stat() for entry in entries if entry.is_file() and _is_csv(entry.name)}
        except OSError as error:
            raise SourceLost(str(error)) from None
        return {name: Seen(stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in sorted(found.items())}

    def _finished(self, present: Mapping[str, Seen], now: float) -> Iterator[tuple[str, Seen]]:
        """Files that have not changed for `settle_s` as we saw it: a copied file's own time may be old."""
        first_seen = {name: self._first_seen.get(name, (seen, now)) for name, seen in present.items()}
        self._first_seen = {
            name: (seen, first_seen[name][1] if first_seen[name][0] == seen else now) for name, seen in present.items()
        }
        for name, (seen, since) in self._first_seen.items():
            known = self._journal.has(name, seen) or self._refused.get(name) == seen
            if not known and now - since >= self._settings.settle_s:
                yield name, seen

    async def _read(self, name: str, seen: Seen, present: Mapping[str, Seen], desk: Desk) -> None:
        path = Path(self._settings.directory) / name
        try:
            device = checked_name(self._settings.device or name.split(".")[0].split("_")[0])
            rows = read_rows(path, received_at=desk.now())
            counted = await self._hand_all(rows, device, _source_name(self._settings.name, name, seen), desk)
        except (InvalidFile, InvalidReading, OSError) as error:
            self._refused[name] = seen
            logger.warning("%s: %s: not read: %s", self._settings.name, name, error)
            return
        await desk.flushed(device)
        self._journal.add(name, seen, present)
        good, bad = counted
        logger.info("%s: %s: %d rows read, %d refused", self._settings.name, name, good, bad)

    async def _hand_all(self, rows: Iterator[Row | BadRow], device: str, source: str, desk: Desk) -> tuple[int, int]:
        good, bad, chunk = 0, 0, []
        for row in rows:
            if isinstance(row, BadRow):
                bad += 1
                desk.counts["bad_values"] += 1
                if bad <= _NAMED_MAX:
                    logger.warning("%s: row %d: %s (%s)", self._settings.name, row.number, row.reason, row.detail)
                continue
            good += 1
            chunk.append(_fields(row, source, good))
            if len(chunk) == _ROWS_PER_MESSAGE:
                await desk.hand_patiently(device, encoded(chunk), len(chunk))
                chunk = []
        if chunk:
            await desk.hand_patiently(device, encoded(chunk), len(chunk))
        return good, bad


def _fields(row: Row, source: str, sequence: int) -> dict[str, Any]:
    missing = dict.fromkeys(row.missing)
    numbers = {SOURCE_KEY: source, SEQUENCE_KEY: sequence}
    return {**row.signals, **missing, **row.attributes, TIMESTAMP_KEY: row.observed_at, **numbers}


def _source_name(connector: str, name: str, seen: Seen) -> str:
    """The same file, unchanged, has the same name after a restart; one that was changed is another."""
    digest = hashlib.sha256(f"{connector}/{name}/{seen}".encode()).hexdigest()[:16]
    return f"csv.{digest}"


def _is_csv(name: str) -> bool:
    return name.lower().endswith(".csv") and not name.startswith(".")
