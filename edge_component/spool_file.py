"""The spool's file: its tables, how it is opened whatever a power cut has left of it, and its ledgers, read-only.

A file that SQLite cannot read, or whose pages contradict each other, is set aside under another name, never deleted and
never tried again: the gateway begins a new one at once, and somebody may still look into the old one.
"""

from __future__ import annotations

import logging
import secrets
import sqlite3
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

logger = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT, alerts INTEGER NOT NULL, payload BLOB NOT NULL,
    at REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS queue_alerts ON queue (alerts, id);
CREATE TABLE IF NOT EXISTS cursor (leg TEXT PRIMARY KEY, acknowledged INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS numbered (
    device TEXT NOT NULL, epoch INTEGER NOT NULL, last INTEGER NOT NULL, PRIMARY KEY (device, epoch)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sources (
    source TEXT NOT NULL, device TEXT NOT NULL, last INTEGER NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (source, device)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dropped (
    leg TEXT NOT NULL, device TEXT NOT NULL, epoch INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
    PRIMARY KEY (leg, device, epoch, first)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rejected (
    id INTEGER PRIMARY KEY AUTOINCREMENT, reason TEXT NOT NULL, detail TEXT NOT NULL, topic TEXT NOT NULL,
    received_at INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS rejected_count (reason TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS boot (epoch INTEGER NOT NULL);
"""
# A new database must not number from where a lost one did, or the cloud would drop its readings as repeats: the key is
# (device, epoch, sequence). Chance, because after the loss there is no memory, and the clock may stand at 1970. With a
# hundred starts before and after, one loss in 4,500 meets an old epoch. Six digits, as the key prints them, leave at
# least 100,000 starts: 27 a day for ten years.
_FIRST_EPOCH_MAX: Final = 899_999
# SQLite's own files beside the database; a log of another database must never be applied to a new one.
_SUFFIXES: Final = ("", "-wal", "-shm")
# The oldest are overwritten: what nobody has fetched after three accidents nobody will.
_SET_ASIDE_MAX: Final = 3


class Range(NamedTuple):
    """Readings `first` to `last` (inclusive) of one device, numbered in one boot epoch."""

    device: str
    epoch: int
    first: int
    last: int


def as_ranges(readings: Iterable[tuple[str, int, int]]) -> list[Range]:
    """(device, epoch, sequence) of readings as the fewest ranges.

    >>> as_ranges([("pump-1", 3, 7), ("pump-1", 3, 8), ("pump-1", 3, 10)])
    [Range(device='pump-1', epoch=3, first=7, last=8), Range(device='pump-1', epoch=3, first=10, last=10)]
    """
    ranges: list[Range] = []
    for (device, epoch), group in groupby(sorted(set(readings)), key=lambda item: item[:2]):
        for _, _, sequence in group:
            last = ranges[-1] if ranges else None
            if last and last[:2] == (device, epoch) and last.last == sequence - 1:
                ranges[-1] = last._replace(last=sequence)
            else:
                ranges.append(Range(device, epoch, sequence, sequence))
    return ranges


def merged(ranges: Iterable[Range]) -> list[Range]:
    """The same readings in the fewest ranges, without naming each.

    >>> merged([Range("a", 1, 5, 9), Range("a", 1, 1, 4), Range("a", 2, 10, 11)])
    [Range(device='a', epoch=1, first=1, last=9), Range(device='a', epoch=2, first=10, last=11)]
    """
    fewest: list[Range] = []
    for item in sorted(ranges):
        before = fewest[-1] if fewest else None
        if before and before[:2] == item[:2] and item.first <= before.last + 1:
            fewest[-1] = before._replace(last=max(before.last, item.last))
        else:
            fewest.append(item)
    return fewest


def numbered_ledger(path: Path) -> list[Range]:
    """What the gateway numbered and queued, per device and epoch, whether sent already or not; read-only, also while
    the component runs."""
    return _ledger(path, "SELECT device, epoch, 1, last FROM numbered ORDER BY device, epoch")


def dropped_ledger(path: Path, leg: str) -> list[Range]:
    """What the gateway dropped on purpose before `leg` had sent it."""
    query = "SELECT device, epoch, first, last FROM dropped WHERE leg = ? ORDER BY device, epoch, first"
    return _ledger(path, query, leg)


def _ledger(path: Path, query: str, *arguments: str) -> list[Range]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return [Range(*row) for row in connection.execute(query, arguments)]
    finally:
        connection.close()


def before_first() -> int:
    """The epoch from which a new database counts on."""
    return secrets.randbelow(_FIRST_EPOCH_MAX)


def open_or_set_aside(path: Path) -> sqlite3.Connection:
    """The database, as far as a crash has left it whole; a new one where it has not. sqlite3.OperationalError where
    the disk is full, read-only or failing: then the file is not to blame, and it stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _checked(path)
    except sqlite3.OperationalError as error:
        if not _is_damage(error):
            raise
        _set_aside(path, error)
    except sqlite3.DatabaseError as error:
        _set_aside(path, error)
    return _checked(path)


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _checked(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        connection.executescript(_SCHEMA)
        if not any(column[1] == "at" for column in connection.execute("PRAGMA table_info(queue)")):
            connection.execute("ALTER TABLE queue ADD COLUMN at REAL NOT NULL DEFAULT 0")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.OperationalError) -> bool:
    """Whether the tables are not ours: a file of another program, or a schema that was torn."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR


def _set_aside(path: Path, error: sqlite3.Error) -> None:
    names = [path.with_name(f"{path.name}.damaged-{number}") for number in range(1, _SET_ASIDE_MAX + 1)]
    aside = next((name for name in names if not name.exists()), None) or min(
        names, key=lambda name: name.stat().st_mtime
    )
    logger.error("the queue %s is damaged (%s); it is kept as %s, and a new one begins", path, error, aside.name)
    for suffix in _SUFFIXES:
        old, new = path.with_name(path.name + suffix), aside.with_name(aside.name + suffix)
        new.unlink(missing_ok=True)
        if old.exists():
            old.replace(new)
