"""The durable queue of the gateway: every message for the cloud, once on disk, with one cursor per destination.

One SQLite database in WAL mode. A transaction of `append` holds everything that a batch of readings changed: the
messages, which readings of which source were taken, the ledger of what was numbered. So after kill -9 or a power cut
either all of it happened or nothing, and the source, which had no acknowledgement, sends again.

`synchronous=FULL`: the acknowledgement to a source is a promise, and with NORMAL a power cut could break it. It costs
one fsync per commit, a few each second. Cursors travel with the next append: losing one means sending again, and the
cloud knows repeats by their key.

Threads: one worker appends; each leg reads through `take` and reports through `acknowledge`.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from plantwatch.telemetry import Rejection

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS queue (
    id INTEGER PRIMARY KEY AUTOINCREMENT, alerts INTEGER NOT NULL, payload BLOB NOT NULL);
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
# Above this, what was dropped makes room for the next minute too, instead of a transaction for every message.
_DROP_TO: Final = 0.98
_DROP_ROWS: Final = 64
# A source takes a new name with every start: a thousand devices through a hundred starts, about 10 MB. Who was silent
# for longer has long given up what it could resend. By order of use, not by a clock that may be wrong.
SOURCE_ROWS_MAX: Final = 100_000
# A new database must not number from where a lost one did, or the cloud would drop its readings as repeats: the key is
# (device, epoch, sequence). Chance, because after the loss there is no memory, and the clock may stand at 1970. With a
# hundred starts before and after, one loss in 4,500 meets an old epoch. Six digits, as the key prints them, leave at
# least 100,000 starts: 27 a day for ten years.
_FIRST_EPOCH_MAX: Final = 899_999
# The ledger of earlier starts, as far back as anyone will reconcile.
_EPOCHS_KEPT: Final = 100


class Row(NamedTuple):
    """One message of the queue. Ids only grow; they may have holes."""

    id: int
    payload: bytes


class Range(NamedTuple):
    """Readings `first` to `last` (inclusive) of one device, numbered in one boot epoch."""

    device: str
    epoch: int
    first: int
    last: int


class Message(NamedTuple):
    """What `append` queues. One with alerts is dropped last."""

    payload: bytes
    has_alerts: bool


@dataclass(frozen=True, slots=True)
class Addition:
    """All that one batch of readings changes, in one transaction.

    `numbered`: device -> its last sequence in this epoch. `taken`: (source, device) -> the source's own number.
    """

    messages: Sequence[Message] = ()
    numbered: Mapping[str, int] = field(default_factory=dict)
    taken: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rejections: Sequence[Rejection] = ()


class Depth(NamedTuple):
    """How much one leg has before it."""

    rows: int
    bytes: int


@dataclass(slots=True)
class _Cursor:
    """One leg's place in the queue: everything up to `acknowledged` has arrived, up to `taken` is on its way."""

    acknowledged: int
    taken: int
    rows: int
    bytes: int


Contents = Callable[[bytes], Iterable[tuple[str, int, int]]]
"""(device, epoch, sequence) of every reading in a message; asked only for messages that have to be dropped."""


class Spool:
    """Opening it begins a new boot epoch. `bytes_max` bounds the payloads; beyond it the oldest messages without alerts
    go first, and the ledger `dropped` says whose readings they held, per leg that had not sent them."""

    def __init__(
        self,
        path: Path,
        *,
        legs: Sequence[str],
        bytes_max: int,
        rejected_rows_max: int,
        contents: Contents,
        source_rows_max: int = SOURCE_ROWS_MAX,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._bytes_max = bytes_max
        self._rejected_rows_max = rejected_rows_max
        self._source_rows_max = source_rows_max
        self._contents = contents
        self._lock = threading.Lock()  # guards _cursors and _reader
        self._writer = _open(path)
        self._writer.executescript(_SCHEMA)
        self._reader = _open(path)
        self.epoch = self._begin_epoch()
        self._bytes = self._total("SELECT coalesce(sum(length(payload)), 0) FROM queue")
        self._cursors = {leg: self._cursor(leg) for leg in legs}
        self._kept: dict[str, int] = {}
        self._commits = self._total("SELECT coalesce(max(used), 0) FROM sources")
        self._sources_written = 0

    def close(self) -> None:
        self.keep_cursors()
        with self._lock:
            self._reader.close()
            self._writer.close()

    def last_taken(self, source_device: tuple[str, str]) -> int:
        """The last reading taken from this source of this device, by the source's own numbers; 0 for none."""
        query = "SELECT coalesce(max(last), 0) FROM sources WHERE source = ? AND device = ?"
        return self._total(query, *source_device)

    def last_numbered(self, device: str) -> int:
        """This device's last sequence in this epoch; 0 for none."""
        query = "SELECT coalesce(max(last), 0) FROM numbered WHERE device = ? AND epoch = ?"
        return self._total(query, device, self.epoch)

    def append(self, addition: Addition) -> None:
        """All of it, durably, or nothing. Also keeps the cursors and forgets what every leg has sent."""
        with self._transaction():
            self._insert(addition)
            self._keep_cursors()
        with self._lock:
            self._count(addition.messages)
        if self._is_above(1.0):
            self._make_room()

    def keep_cursors(self) -> None:
        """Write the cursors down, if they moved, although nothing is appended. The worker's call, like `append`."""
        if self._acknowledged() != self._kept:
            with self._transaction():
                self._keep_cursors()

    def take(self, leg: str, room: int) -> Row | None:
        """The next message for this leg, if there is one and it has at most `room` bytes."""
        with self._lock:
            cursor = self._cursors[leg]
            row = self._reader.execute(
                "SELECT id, payload FROM queue WHERE id > ? ORDER BY id LIMIT 1", (cursor.taken,)
            ).fetchone()
            if row is None or len(row[1]) > room:
                return None
            cursor.taken = row[0]
            return Row(*row)

    def acknowledge(self, leg: str, rows: Sequence[Row]) -> None:
        """These messages, the oldest unacknowledged ones in order, have arrived."""
        with self._lock:
            cursor = self._cursors[leg]
            cursor.acknowledged = rows[-1].id
            cursor.rows -= len(rows)
            cursor.bytes -= sum(len(row.payload) for row in rows)

    def depth(self, leg: str) -> Depth:
        with self._lock:
            return Depth(self._cursors[leg].rows, self._cursors[leg].bytes)

    def rejected(self) -> dict[str, int]:
        """How many local readings were refused, by reason, since the database was made."""
        return dict(self._writer.execute("SELECT reason, count FROM rejected_count"))

    def dropped(self) -> dict[str, int]:
        """How many readings each leg lost to the bound of the queue."""
        return dict(self._writer.execute("SELECT leg, sum(last - first + 1) FROM dropped GROUP BY leg"))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        with self._writer:  # commits, or rolls back what failed
            yield

    def _begin_epoch(self) -> int:
        before_first = secrets.randbelow(_FIRST_EPOCH_MAX)
        with self._transaction():
            self._writer.execute("INSERT INTO boot SELECT ? WHERE NOT EXISTS (SELECT 1 FROM boot)", (before_first,))
            (epoch,) = self._writer.execute("UPDATE boot SET epoch = epoch + 1 RETURNING epoch").fetchone()
            self._writer.execute("DELETE FROM numbered WHERE epoch <= ?", (epoch - _EPOCHS_KEPT,))
        return int(epoch)

    def _cursor(self, leg: str) -> _Cursor:
        known = self._writer.execute("SELECT acknowledged FROM cursor WHERE leg = ?", (leg,)).fetchone()
        acknowledged = known[0] if known else 0
        rows = self._total("SELECT count(*) FROM queue WHERE id > ?", acknowledged)
        size = self._total("SELECT coalesce(sum(length(payload)), 0) FROM queue WHERE id > ?", acknowledged)
        return _Cursor(acknowledged, acknowledged, rows, size)

    def _total(self, query: str, *arguments: int | str) -> int:
        return int(self._writer.execute(query, arguments).fetchone()[0])

    def _insert(self, addition: Addition) -> None:
        write = self._writer.executemany
        write("INSERT INTO queue (payload, alerts) VALUES (?, ?)", addition.messages)
        write(
            "INSERT INTO numbered VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last",
            [(device, self.epoch, last) for device, last in addition.numbered.items()],
        )
        if addition.taken:
            self._insert_taken(addition.taken)
        if addition.rejections:
            self._insert_rejections(addition.rejections)

    def _insert_taken(self, taken: Mapping[tuple[str, str], int]) -> None:
        self._commits += 1
        self._writer.executemany(
            "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)",
            [(source, device, last, self._commits) for (source, device), last in taken.items()],
        )
        self._sources_written += len(taken)
        # Counting reads the whole table: only when it can have grown by a tenth.
        if self._sources_written > self._source_rows_max // 10:
            self._sources_written = 0
            self._forget_sources()

    def _forget_sources(self) -> None:
        """Those above the bound that were used longest ago."""
        surplus = self._total("SELECT count(*) FROM sources") - self._source_rows_max
        if surplus > 0:
            longest_ago = "SELECT source, device FROM sources ORDER BY used LIMIT ?"
            self._writer.execute(f"DELETE FROM sources WHERE (source, device) IN ({longest_ago})", (surplus,))  # noqa: S608

    def _insert_rejections(self, rejections: Sequence[Rejection]) -> None:
        write = self._writer.executemany
        write(
            "INSERT INTO rejected (reason, detail, topic, received_at, payload) VALUES (?, ?, ?, ?, ?)",
            [(str(item.reason), *item[1:]) for item in rejections],
        )
        write(
            "INSERT INTO rejected_count VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
            [(str(item.reason),) for item in rejections],
        )
        # The newest are kept: they are what somebody is asking about.
        self._writer.execute(
            "DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (self._rejected_rows_max,)
        )

    def _keep_cursors(self) -> None:
        acknowledged = self._acknowledged()
        self._writer.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?)", acknowledged.items())
        passed = min(acknowledged.values())
        freed = self._total("SELECT coalesce(sum(length(payload)), 0) FROM queue WHERE id <= ?", passed)
        if freed:
            self._writer.execute("DELETE FROM queue WHERE id <= ?", (passed,))
            self._bytes -= freed
        self._kept = acknowledged

    def _acknowledged(self) -> dict[str, int]:
        with self._lock:
            return {leg: cursor.acknowledged for leg, cursor in self._cursors.items()}

    def _count(self, messages: Sequence[Message]) -> None:
        size = sum(len(message.payload) for message in messages)
        self._bytes += size
        for cursor in self._cursors.values():
            cursor.rows += len(messages)
            cursor.bytes += size

    def _make_room(self) -> None:
        """Drop the oldest messages without alerts, then the oldest with; never one that a leg is just sending."""
        with self._lock, self._transaction():
            for has_alerts in (False, True):
                while self._is_above(_DROP_TO) and (rows := self._droppable(has_alerts=has_alerts)):
                    for row in rows:
                        if self._is_above(_DROP_TO):
                            self._drop(row)

    def _is_above(self, part: float) -> bool:
        return self._bytes > self._bytes_max * part

    def _droppable(self, *, has_alerts: bool) -> list[Row]:
        in_flight = " ".join("AND NOT (id > ? AND id <= ?)" for _ in self._cursors)
        places = [place for cursor in self._cursors.values() for place in (cursor.acknowledged, cursor.taken)]
        rows = self._writer.execute(
            f"SELECT id, payload FROM queue WHERE alerts = ? {in_flight} ORDER BY id LIMIT {_DROP_ROWS}",  # noqa: S608
            (has_alerts, *places),
        )
        return [Row(*row) for row in rows]

    def _drop(self, row: Row) -> None:
        ranges = as_ranges(self._contents(row.payload))
        for leg, cursor in self._cursors.items():
            if row.id > cursor.acknowledged:
                cursor.rows -= 1
                cursor.bytes -= len(row.payload)
                self._note_dropped(leg, ranges)
        self._writer.execute("DELETE FROM queue WHERE id = ?", (row.id,))
        self._bytes -= len(row.payload)

    def _note_dropped(self, leg: str, ranges: Iterable[Range]) -> None:
        for device, epoch, first, last in ranges:
            extended = self._writer.execute(
                "UPDATE dropped SET last = ? WHERE leg = ? AND device = ? AND epoch = ? AND last = ?",
                (last, leg, device, epoch, first - 1),
            )
            if not extended.rowcount:
                self._writer.execute("INSERT INTO dropped VALUES (?, ?, ?, ?, ?)", (leg, device, epoch, first, last))


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


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection
