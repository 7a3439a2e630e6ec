"""The durable queue: cursors, bounds, ledgers, and what a kill -9 leaves."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from edge_component.spool import (
    Addition,
    Message,
    Row,
    Spool,
)
from edge_component.spool_file import Range, as_ranges, dropped_ledger, numbered_ledger
from plantwatch.telemetry import Rejection, RejectionReason

LEGS = ["primary", "dr"]


def contents(payload: bytes) -> Iterable[tuple[str, int, int]]:
    """Test payloads are `device:epoch:first-last` and padding."""
    device, epoch, sequences = payload.split(b" ")[0].decode().split(":")
    first, last = map(int, sequences.split("-"))
    return [(device, int(epoch), sequence) for sequence in range(first, last + 1)]


def open_spool(
    folder: Path,
    *,
    bytes_max: int = 1_000_000,
    legs: list[str] | None = None,
    rejected: int = 10,
    source_rows: int = 1_000,
) -> Spool:
    return Spool(
        folder / "spool.db",
        legs=legs or LEGS,
        bytes_max=bytes_max,
        rejected_rows_max=rejected,
        contents=contents,
        source_rows_max=source_rows,
    )


def add(spool: Spool, first: int, last: int, *, urgent: bool = False, size: int = 100) -> None:
    payload = f"pump:{spool.epoch}:{first}-{last} ".encode().ljust(size, b".")
    spool.append(Addition([Message(payload, urgent)], numbered={"pump": last}))


def drain(spool: Spool, leg: str) -> list[Row]:
    rows: list[Row] = []
    while row := spool.take(leg, 10_000):
        rows.append(row)
    return rows


def test_each_leg_has_its_own_place(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for sequence in (1, 2, 3):
        add(spool, sequence, sequence)
    rows = drain(spool, "primary")
    spool.acknowledge("primary", rows[:2])
    assert (spool.depth("primary").rows, spool.depth("dr").rows) == (1, 3)
    assert drain(spool, "dr") == rows


def test_after_a_restart_a_leg_goes_on_behind_what_was_acknowledged(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for sequence in (1, 2, 3):
        add(spool, sequence, sequence)
    rows = drain(spool, "primary")
    spool.acknowledge("primary", rows[:2])
    spool.close()
    again = open_spool(tmp_path)
    assert drain(again, "primary") == rows[2:]
    assert drain(again, "dr") == rows
    assert again.depth("dr").bytes == 300


def test_what_every_leg_has_sent_is_forgotten(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    add(spool, 1, 1)
    for leg in LEGS:
        spool.acknowledge(leg, drain(spool, leg))
    spool.keep_cursors()
    spool.close()
    assert drain(open_spool(tmp_path, legs=["new"]), "new") == []


def test_every_start_is_a_new_epoch_and_the_ledger_keeps_the_old_ones(tmp_path: Path) -> None:
    epochs = []
    for last in (10, 20):
        spool = open_spool(tmp_path)
        epochs.append(spool.epoch)
        add(spool, 1, last)
        spool.close()
    first, second = epochs
    assert second == first + 1
    assert numbered_ledger(tmp_path / "spool.db") == [Range("pump", first, 1, 10), Range("pump", second, 1, 20)]


def test_a_new_database_begins_where_no_other_did(tmp_path: Path) -> None:
    epochs = [open_spool(tmp_path / str(index)).epoch for index in range(20)]
    # Of twenty, two are alike once in 4,700 runs, and more never.
    assert len(set(epochs)) >= 19
    assert all(1 <= epoch <= 899_999 for epoch in epochs)


def test_numbers_are_remembered_for_this_epoch_and_sources_for_all(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.append(Addition(numbered={"pump": 7}, taken={("driver", "pump"): 9}))
    assert [spool.last_numbered(device) for device in ("pump", "fan")] == [7, 0]
    spool.close()
    again = open_spool(tmp_path)
    assert again.last_numbered("pump") == 0
    assert again.last_taken(("driver", "pump")) == 9
    assert again.last_taken(("driver", "fan")) == 0


def test_the_sources_used_longest_ago_are_forgotten_while_it_runs(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, source_rows=100)
    for start in range(500):
        spool.append(Addition(taken={(f"driver-{start}", "pump"): 1, ("steady", "pump"): start + 1}))
    known = [start for start in range(500) if spool.last_taken((f"driver-{start}", "pump"))]
    assert known == list(range(known[0], 500)), "the newest"
    assert 90 <= len(known) <= 111
    assert spool.last_taken(("steady", "pump")) == 500


def test_a_message_that_does_not_fit_the_room_waits(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    add(spool, 1, 1, size=500)
    assert spool.take("dr", 499) is None
    assert spool.take("dr", 500)


def test_overflow_drops_the_oldest_without_alerts_first_and_says_whose(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, bytes_max=1_000)
    for sequence in range(1, 16):
        add(spool, sequence, sequence, urgent=sequence in (2, 4))
    kept = [next(iter(contents(row.payload)))[2] for row in drain(spool, "dr")]
    assert kept[:2] == [2, 4]
    assert kept[-1] == 15
    dropped = dropped_ledger(tmp_path / "spool.db", "dr")
    gone = [sequence for entry in dropped for sequence in range(entry.first, entry.last + 1)]
    assert sorted(kept + gone) == list(range(1, 16)), "each reading is either kept or in the ledger"
    assert dropped[-1].last - dropped[-1].first > 1, "neighbours are one range"
    assert spool.dropped() == {"primary": len(gone), "dr": len(gone)}


def test_overflow_spares_what_is_on_its_way_and_blames_only_legs_that_had_not_sent(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, bytes_max=1_000)
    for sequence in range(1, 10):
        add(spool, sequence, sequence)
    rows = drain(spool, "primary")
    spool.acknowledge("primary", rows[:7])
    flying = spool.take("dr", 10_000)
    for sequence in range(10, 14):
        add(spool, sequence, sequence)
    assert flying == rows[0]
    assert dropped_ledger(tmp_path / "spool.db", "primary") == []
    assert dropped_ledger(tmp_path / "spool.db", "dr") == [Range("pump", spool.epoch, 2, 5)]
    assert spool.depth("primary").rows == 6


def test_with_alerts_only_the_oldest_alerts_go(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, bytes_max=1_000, legs=["dr"])
    for sequence in range(1, 14):
        add(spool, sequence, sequence, urgent=True)
    assert spool.depth("dr").bytes <= 1_000
    assert dropped_ledger(tmp_path / "spool.db", "dr")[0].first == 1


def test_rejections_are_bounded_but_counted(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, rejected=3)
    for index in range(8):
        refused = Rejection(RejectionReason.MALFORMED_JSON, "", "topic", index, b"x")
        spool.append(Addition(rejections=[refused]))
    assert spool.rejected() == {"malformed_json": 8}


@pytest.mark.parametrize("seed", range(5))
def test_depth_is_what_is_left_whatever_happens(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    spool = open_spool(tmp_path, bytes_max=2_000)
    flying: dict[str, list[Row]] = {leg: [] for leg in LEGS}
    for sequence in range(1, 120):
        add(spool, sequence, sequence, urgent=chance.random() < 0.1, size=chance.randint(20, 200))
        leg = chance.choice(LEGS)
        while chance.random() < 0.6 and (row := spool.take(leg, 10_000)):
            flying[leg].append(row)
        if flying[leg] and chance.random() < 0.5:
            spool.acknowledge(leg, [flying[leg].pop(0)])
    spool.keep_cursors()
    for leg in LEGS:
        depth = spool.depth(leg)
        left = flying[leg] + drain(spool, leg)
        assert (depth.rows, depth.bytes) == (len(left), sum(len(row.payload) for row in left)), f"seed {seed}"


_WRITER = """
import sys
from pathlib import Path
from edge_component.spool import Addition, Message, Spool
spool = Spool(Path(sys.argv[1]), legs=["dr"], bytes_max=10**9, rejected_rows_max=1, contents=lambda _: [])
for sequence in range(1, 10**6):
    message = Message(f"{sequence}".encode(), False)
    spool.append(Addition([message], numbered={"pump": sequence}, taken={("s", "pump"): sequence}))
    print(sequence, flush=True)
"""


def test_kill_9_loses_nothing_that_was_told_to_be_safe_and_keeps_no_half(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    for line in writer.stdout:
        if int(line) == 200:
            os.kill(writer.pid, signal.SIGKILL)
    told = 200
    writer.wait()
    spool = open_spool(tmp_path, legs=["dr"])
    rows = [int(row.payload) for row in drain(spool, "dr")]
    assert rows == list(range(1, len(rows) + 1))
    assert len(rows) >= told
    assert spool.last_taken(("s", "pump")) == len(rows)
    assert numbered_ledger(path) == [Range("pump", spool.epoch - 1, 1, len(rows))]


def test_ranges_are_the_fewest() -> None:
    readings = [("b", 1, 1), ("a", 2, 5), ("a", 2, 4), ("a", 1, 6), ("a", 2, 8)]
    assert as_ranges(readings) == [Range("a", 1, 6, 6), Range("a", 2, 4, 5), Range("a", 2, 8, 8), Range("b", 1, 1, 1)]
