"""The durable queue of the gateway: every message for the cloud, once on disk, with one cursor per destination.

One SQLite database in WAL mode. A transaction of `append` holds everything that a batch of readings changed: the
messages, which readings of which source were taken, the ledger of what was numbered. So after kill -9 or a power cut
either all of it happened or nothing, and the source, which had no acknowledgement, sends again.

`synchronous=FULL`: the acknowledgement to a source is a promise, and with NORMAL a power cut could break it. It costs
one fsync per commit, a few each second. Cursors travel with the next append: losing one means sending again, and the
cloud knows repeats by their key.

Three lanes, each in the order of its ids: a leg takes declarations of what was dropped first, then what is urgent, then
raw readings. So a live anomaly waits for what is in flight, never for the backlog. Opening and clearing of an incident
are both urgent and keep their order; a region orders readings by (epoch, sequence), not by arrival.

Threads: one worker appends; each leg reads through `take` and reports through `acknowledge`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from edge_component.spool_file import Range, as_ranges, before_first, connect, merged, open_or_set_aside
from plantwatch.telemetry import Rejection

# Above this, what was dropped makes room for the next minute too, instead of a transaction for every message.
_DROP_TO: Final = 0.98
_DROP_ROWS: Final = 64
# A week: longer than any holiday's outage; what is older nobody decides by. And, as with bytes, a hundredth more before
# anything goes, or every commit would declare a single message.
AGE_S_MAX: Final = 7 * 86_400.0
_AGED_FROM: Final = 1.01
# A source takes a new name with every start: a thousand devices through a hundred starts, about 10 MB. Who was silent
# for longer has long given up what it could resend. By order of use, not by a clock that may be wrong.
SOURCE_ROWS_MAX: Final = 100_000
# The ledger of earlier starts, as far back as anyone will reconcile.
_EPOCHS_KEPT: Final = 100


class Lane(IntEnum):
    """How urgent a message is; also the order in which a full queue gives them up."""

    RAW = 0
    URGENT = 1
    DECLARATION = 2
    """What was dropped. Never dropped itself: kilobytes for ten megabytes."""


_LANES_BY_URGENCY: Final = (Lane.DECLARATION, Lane.URGENT, Lane.RAW)


class Row(NamedTuple):
    """One message of the queue. Ids only grow; they may have holes."""

    id: int
    payload: bytes
    lane: int = Lane.RAW


class Message(NamedTuple):
    """What `append` queues. An urgent one (anomalies, alerts) is sent first and dropped last."""

    payload: bytes
    urgent: bool


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
    """One leg's place in each lane: everything up to `acknowledged` has arrived, up to `taken` is on its way."""

    acknowledged: dict[Lane, int]
    taken: dict[Lane, int]
    rows: int
    bytes: int


Contents = Callable[[bytes], Iterable[tuple[str, int, int]]]
"""(device, epoch, sequence) of every reading in a message; asked only for messages that have to be dropped."""

Declare = Callable[[Sequence[Range]], Iterable[bytes]]
"""Messages that tell the regions which readings will never come."""


class Spool:
    """Opening it begins a new boot epoch. `bytes_max` bounds the payloads; beyond it the oldest messages that are not
    urgent go first, and the ledger `dropped` says whose readings they held, per leg that had not sent them. In the same
    transaction they are declared to the regions. `age_s_max` bounds how long a message waits, in time that the
    component ran: a clock that jumps drops nothing."""

    def __init__(
        self,
        path: Path,
        *,
        legs: Sequence[str],
        bytes_max: int,
        rejected_rows_max: int,
        contents: Contents,
        declare: Declare = lambda _: (),
        age_s_max: float = AGE_S_MAX,
        running_s: Callable[[], float] = time.monotonic,
        source_rows_max: int = SOURCE_ROWS_MAX,
    ) -> None:
        self._bytes_max = bytes_max
        self._age_s_max = age_s_max
        self._running_s = running_s
        self._declare = declare
        self._rejected_rows_max = rejected_rows_max
        self._source_rows_max = source_rows_max
        self._contents = contents
        self._lock = threading.Lock()  # guards _cursors and _reader
        self._writer = open_or_set_aside(path)
        self._reader = connect(path)
        self._ran_before = float(self._writer.execute("SELECT coalesce(max(at), 0) FROM queue").fetchone()[0])
        self._opened = running_s()
        self.epoch = self._begin_epoch()
        self._bytes = self._total("SELECT coalesce(sum(length(payload)), 0) FROM queue")
        self._cursors = {leg: self._cursor(leg) for leg in legs}
        self._kept: dict[tuple[str, Lane], int] = {}
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
        if self._is_aged(_AGED_FROM):
            self._forget_aged()

    def keep_cursors(self) -> None:
        """Write the cursors down, if they moved, although nothing is appended. The worker's call, like `append`."""
        if self._acknowledged() != self._kept:
            with self._transaction():
                self._keep_cursors()

    def take(self, leg: str, room: int) -> Row | None:
        """The most urgent message for this leg, if there is one and it has at most `room` bytes."""
        with self._lock:
            cursor = self._cursors[leg]
            for lane in _LANES_BY_URGENCY:
                row = self._reader.execute(
                    "SELECT id, payload, alerts FROM queue WHERE alerts = ? AND id > ? ORDER BY id LIMIT 1",
                    (lane, cursor.taken[lane]),
                ).fetchone()
                if row is None:
                    continue
                if len(row[1]) > room:
                    return None  # nothing less urgent may take its room
                cursor.taken[lane] = row[0]
                return Row(*row)
            return None

    def acknowledge(self, leg: str, rows: Sequence[Row]) -> None:
        """These messages, the longest taken ones in order, have arrived."""
        with self._lock:
            cursor = self._cursors[leg]
            for row in rows:
                cursor.acknowledged[Lane(row.lane)] = row.id
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
        with self._transaction():
            self._writer.execute("INSERT INTO boot SELECT ? WHERE NOT EXISTS (SELECT 1 FROM boot)", (before_first(),))
            (epoch,) = self._writer.execute("UPDATE boot SET epoch = epoch + 1 RETURNING epoch").fetchone()
            self._writer.execute("DELETE FROM numbered WHERE epoch <= ?", (epoch - _EPOCHS_KEPT,))
        return int(epoch)

    def _cursor(self, leg: str) -> _Cursor:
        known: dict[str, int] = dict(self._writer.execute("SELECT leg, acknowledged FROM cursor"))
        # A queue of the version without lanes has one cursor for all.
        acknowledged = {lane: known.get(_cursor_name(leg, lane), known.get(leg, 0)) for lane in Lane}
        waiting = " OR ".join("(alerts = ? AND id > ?)" for _ in acknowledged)
        places = [place for item in acknowledged.items() for place in item]
        rows = self._total(f"SELECT count(*) FROM queue WHERE {waiting}", *places)  # noqa: S608
        size = self._total(f"SELECT coalesce(sum(length(payload)), 0) FROM queue WHERE {waiting}", *places)  # noqa: S608
        return _Cursor(acknowledged, dict(acknowledged), rows, size)

    def _total(self, query: str, *arguments: int | str) -> int:
        return int(self._writer.execute(query, arguments).fetchone()[0])

    def _insert(self, addition: Addition) -> None:
        write = self._writer.executemany
        at = self._ran()
        write(
            "INSERT INTO queue (payload, alerts, at) VALUES (?, ?, ?)",
            [(message.payload, message.urgent, at) for message in addition.messages],
        )
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
        self._writer.executemany(
            "INSERT OR REPLACE INTO cursor VALUES (?, ?)",
            [(_cursor_name(leg, lane), place) for (leg, lane), place in acknowledged.items()],
        )
        freed = 0
        for lane in Lane:
            passed = min(place for (_, each), place in acknowledged.items() if each is lane)
            size = "SELECT coalesce(sum(length(payload)), 0) FROM queue WHERE alerts = ? AND id <= ?"
            if of_lane := self._total(size, lane, passed):
                self._writer.execute("DELETE FROM queue WHERE alerts = ? AND id <= ?", (lane, passed))
                freed += of_lane
        self._bytes -= freed
        self._kept = acknowledged

    def _acknowledged(self) -> dict[tuple[str, Lane], int]:
        with self._lock:
            return {
                (leg, lane): at for leg, cursor in self._cursors.items() for lane, at in cursor.acknowledged.items()
            }

    def _count(self, messages: Sequence[Message]) -> None:
        size = sum(len(message.payload) for message in messages)
        self._bytes += size
        for cursor in self._cursors.values():
            cursor.rows += len(messages)
            cursor.bytes += size

    def _make_room(self) -> None:
        """Drop the oldest raw messages, then the oldest urgent ones; never one that a leg is just sending."""
        with self._lock, self._transaction():
            gone: list[Range] = []
            for lane in (Lane.RAW, Lane.URGENT):
                while self._is_above(_DROP_TO) and (rows := self._droppable(lane)):
                    for row, _ in rows:
                        if self._is_above(_DROP_TO):
                            gone += self._drop(row)
            self._queue_declarations(gone)

    def _forget_aged(self) -> None:
        """Drop what has waited too long, urgent or not."""
        with self._lock, self._transaction():
            gone: list[Range] = []
            oldest = self._ran() - self._age_s_max
            for lane in (Lane.RAW, Lane.URGENT):
                while aged := [row for row, at in self._droppable(lane) if at < oldest]:
                    for row in aged:
                        gone += self._drop(row)
            self._queue_declarations(gone)

    def _queue_declarations(self, gone: Sequence[Range]) -> None:
        ranges = merged(gone)
        for payload in self._declare(ranges) if ranges else ():
            self._writer.execute(
                "INSERT INTO queue (payload, alerts, at) VALUES (?, ?, ?)", (payload, Lane.DECLARATION, self._ran())
            )
            self._count([Message(payload, urgent=True)])

    def _is_above(self, part: float) -> bool:
        return self._bytes > self._bytes_max * part

    def _ran(self) -> float:
        """Seconds that the component ran while this queue had something in it; no clock can set it back."""
        return self._ran_before + self._running_s() - self._opened

    def _is_aged(self, part: float) -> bool:
        oldest = self._writer.execute("SELECT at FROM queue ORDER BY id LIMIT 1").fetchone()
        return oldest is not None and self._ran() - oldest[0] > self._age_s_max * part

    def _droppable(self, lane: Lane) -> list[tuple[Row, float]]:
        """The oldest messages of a lane, none of them in flight, each with when it was queued."""
        in_flight = " ".join("AND NOT (id > ? AND id <= ?)" for _ in self._cursors)
        cursors = self._cursors.values()
        places = [place for cursor in cursors for place in (cursor.acknowledged[lane], cursor.taken[lane])]
        rows = self._writer.execute(
            f"SELECT id, payload, alerts, at FROM queue WHERE alerts = ? {in_flight} ORDER BY id LIMIT {_DROP_ROWS}",  # noqa: S608
            (lane, *places),
        )
        return [(Row(*row[:3]), row[3]) for row in rows]

    def _drop(self, row: Row) -> list[Range]:
        ranges = as_ranges(self._contents(row.payload))
        for leg, cursor in self._cursors.items():
            if row.id > cursor.acknowledged[Lane(row.lane)]:
                cursor.rows -= 1
                cursor.bytes -= len(row.payload)
                self._note_dropped(leg, ranges)
        self._writer.execute("DELETE FROM queue WHERE id = ?", (row.id,))
        self._bytes -= len(row.payload)
        return ranges

    def _note_dropped(self, leg: str, ranges: Iterable[Range]) -> None:
        for device, epoch, first, last in ranges:
            extended = self._writer.execute(
                "UPDATE dropped SET last = ? WHERE leg = ? AND device = ? AND epoch = ? AND last = ?",
                (last, leg, device, epoch, first - 1),
            )
            if not extended.rowcount:
                self._writer.execute("INSERT INTO dropped VALUES (?, ?, ?, ?, ?)", (leg, device, epoch, first, last))


def _cursor_name(leg: str, lane: Lane) -> str:
    """Its row in the table of cursors; the raw lane's is that of the version without lanes."""
    return leg if lane is Lane.RAW else f"{leg}/{lane.name.lower()}"
