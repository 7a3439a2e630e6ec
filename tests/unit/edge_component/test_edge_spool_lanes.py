"""The queue's lanes, its age, and what a power cut may leave of its file."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_component.intake import contents as contents_of_batches
from edge_component.intake import declarations
from edge_component.spool import Addition, Lane, Message, Row, Spool
from edge_component.spool_file import Range, dropped_ledger
from plantwatch import envelope
from plantwatch.machine import Machines
from plantwatch.pipeline import Effects, Pipeline
from plantwatch.record import Record, encode_record
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import Reading, telemetry_topic

LEGS = ["primary", "dr"]
NOW = 1_760_000_000_000


def open_spool(path: Path, *, bytes_max: int = 10**6) -> Spool:
    return Spool(
        path,
        legs=LEGS,
        bytes_max=bytes_max,
        rejected_rows_max=10,
        contents=lambda payload: contents_of_batches(payload, tenant="acme", gateway="gw-1"),
        declare=lambda ranges: declarations(ranges, epoch=1, bundle=Machines().bundle),
    )


def payload(spool: Spool, sequence: int) -> bytes:
    reading = Reading(
        "acme", "pump", NOW + sequence, NOW + sequence, {"flow": sequence * 1.37},
        gateway="gw-1", epoch=spool.epoch, sequence=sequence,
    )  # fmt: skip
    return envelope.encode(
        [ScoredReading(reading, 0.1, bundle=Machines().bundle)], epoch=spool.epoch, bundle=Machines().bundle
    )


def add(spool: Spool, sequence: int, *, urgent: bool = False) -> None:
    spool.append(Addition([Message(payload(spool, sequence), urgent)], numbered={"pump": sequence}))


def drain(spool: Spool, leg: str) -> list[Row]:
    rows: list[Row] = []
    while row := spool.take(leg, 10_000):
        rows.append(row)
    return rows


def received(rows: Iterable[Row]) -> tuple[Pipeline, Effects]:
    """What a region makes of the messages in this order."""
    region = Pipeline(Machines(), tenant="acme", gateways=["gw-1"])
    effects = Effects()
    for row in rows:
        record = encode_record(Record(telemetry_topic("acme", "gw-1"), NOW + 10**6, row.payload))
        effects.extend(region.accept(record, arrived_at=NOW + 10**6))
    return region, effects


def test_what_is_urgent_passes_a_backlog_and_the_region_neither_loses_nor_doubles_it(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    for sequence in range(1, 41):
        add(spool, sequence, urgent=sequence in (20, 35))
    first = [spool.take("dr", 10_000), spool.take("dr", 10_000)]
    add(spool, 41, urgent=True)  # while the backlog drains
    rows = [row for row in first if row] + drain(spool, "dr")
    region, effects = received([*rows, *rows[:5]])
    order = [item.reading.sequence for item in effects.scored]
    assert order[:4] == [20, 35, 41, 1]
    assert sorted(order) == list(range(1, 42))
    assert (effects.duplicates, region.arrivals["pump"].missing()) == (5, {})


def test_after_a_restart_each_lane_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = open_spool(path)
    for sequence in range(1, 7):
        add(spool, sequence, urgent=sequence in (3, 6))
    rows = drain(spool, "dr")
    spool.acknowledge("dr", rows[:3])  # both urgent ones and the first raw one
    spool.close()
    again = open_spool(path)
    assert again.depth("dr").rows == 3
    assert drain(again, "dr") == rows[3:]
    assert len(drain(again, "primary")) == 6


def test_an_urgent_message_that_does_not_fit_keeps_its_turn(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db")
    add(spool, 1)
    spool.append(Addition([Message(b"x" * 900, urgent=True)]))
    assert spool.take("dr", 500) is None
    urgent = spool.take("dr", 900)
    assert urgent is not None
    assert urgent.lane == Lane.URGENT


def test_what_is_dropped_is_declared_and_sent_is_received_plus_declared(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = open_spool(path, bytes_max=4_000)
    for sequence in range(1, 61):
        add(spool, sequence, urgent=sequence % 10 == 0)
    region, effects = received(drain(spool, "dr"))
    dropped = dropped_ledger(path, "dr")
    lost = sum(item.last - item.first + 1 for item in dropped)
    assert lost > 0
    assert len(effects.scored) + effects.declared_drops == 60
    assert effects.declared_drops == lost
    assert region.arrivals["pump"].missing() == {}
    assert {item.reading.sequence for item in effects.scored} >= {10, 20, 30, 40, 50, 60}, "urgent ones stay"
    assert spool.dropped() == {"dr": lost, "primary": lost}


def test_what_is_too_old_is_dropped_by_time_that_it_ran_and_declared(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    now = [0.0]
    spool = Spool(
        path, legs=["dr"], bytes_max=10**6, rejected_rows_max=1, age_s_max=100.0, running_s=lambda: now[0],
        contents=lambda payload: contents_of_batches(payload, tenant="acme", gateway="gw-1"),
        declare=lambda ranges: declarations(ranges, epoch=1, bundle=Machines().bundle),
    )  # fmt: skip
    for sequence in range(1, 31):
        now[0] = sequence * 10.0
        add(spool, sequence)
    _, effects = received(drain(spool, "dr"))
    kept = [item.reading.sequence for item in effects.scored]
    assert kept == list(range(kept[0], 31))
    assert 9 <= len(kept) <= 12
    assert effects.declared_drops == kept[0] - 1
    assert dropped_ledger(path, "dr") == [Range("pump", spool.epoch, 1, kept[0] - 1)]


def test_a_database_of_the_version_without_lanes_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE queue (id INTEGER PRIMARY KEY AUTOINCREMENT, alerts INTEGER NOT NULL, payload BLOB NOT NULL);"
        "CREATE TABLE cursor (leg TEXT PRIMARY KEY, acknowledged INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO queue (alerts, payload) VALUES (0, x'01'), (1, x'02'), (0, x'03');"
        "INSERT INTO cursor VALUES ('dr', 2);"
    )
    old.close()
    spool = open_spool(path)
    assert [row.payload for row in drain(spool, "dr")] == [b"\x03"]
    assert [row.payload for row in drain(spool, "primary")] == [b"\x02", b"\x01", b"\x03"]


def crashed(folder: Path) -> Path:
    """The files as kill -9 leaves them: a database, and a log that is not yet in it."""
    spool = open_spool(folder / "running.db")
    for sequence in range(1, 30):
        add(spool, sequence)
    spool._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
    for sequence in range(30, 60):
        add(spool, sequence)
    for suffix in ("", "-wal"):
        shutil.copy(folder / f"running.db{suffix}", folder / f"spool.db{suffix}")
    spool.close()
    return folder / "spool.db"


def tear(file: Path, chance: random.Random) -> None:
    content = bytearray(file.read_bytes())
    at = chance.randrange(len(content))
    if chance.random() < 0.5:
        del content[at:]
    else:
        end = min(len(content), at + chance.randint(1, 5_000))
        content[at:end] = chance.randbytes(end - at)
    file.write_bytes(content)


@pytest.mark.parametrize("seed", range(40))
def test_a_torn_file_is_opened_or_set_aside_and_the_next_reading_is_kept(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = crashed(tmp_path)
    tear(path.with_name(path.name + chance.choice(["", "-wal"])), chance)
    spool = open_spool(path)
    drain(spool, "dr")
    add(spool, 1)
    assert len(drain(spool, "dr")) == 1, f"seed {seed}"
    aside = list(tmp_path.glob("*.damaged-?"))
    spool.close()
    open_spool(path).close()
    assert list(tmp_path.glob("*.damaged-?")) == aside, "once set aside, it is whole"


def test_a_file_that_is_no_database_is_set_aside_and_only_so_many_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    for round_ in range(5):
        path.write_bytes(b"no database, " * (1_000 + round_))
        open_spool(path).close()
    assert len(list(tmp_path.glob("*.damaged-?"))) == 3


def test_a_message_that_cannot_be_read_is_dropped_like_any_other(tmp_path: Path) -> None:
    spool = open_spool(tmp_path / "spool.db", bytes_max=1_000)
    for _ in range(20):
        spool.append(Addition([Message(b"PW\x01" + b"torn" * 25, urgent=False)]))
    assert spool.depth("dr").bytes <= 1_000
