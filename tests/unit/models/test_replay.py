"""A replay keeps nothing but machines and incidents, however long the recording is."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

from models.history import Series
from models.replay import replay
from plantwatch.bundle.model import Bundle
from plantwatch.telemetry import Reading
from tests.unit.models.plant_files import at


def series(readings: int) -> Series:
    def read() -> Iterator[Reading]:
        chance = random.Random(1)
        for turn in range(readings):
            yield Reading("acme", "fan", at(turn), at(turn), {"flow": chance.gauss(20, 1)})

    return Series("acme", "fan", "fan.csv", read)


def peak_bytes(readings: int) -> int:
    tracemalloc.start()
    try:
        (extent,), _ = replay([series(readings)], [Bundle("a"), Bundle("b")])
        assert extent.readings == readings
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_recording() -> None:
    short = peak_bytes(2_000)
    assert peak_bytes(12_000) < short + 20_000


def test_each_series_has_machines_of_its_own() -> None:
    many = [series(1)] * 300
    tracemalloc.start()
    try:
        extents, _ = replay(many, [Bundle("a")])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(extents) == 300
    # A machine of one signal has 2 KB of cells alone.
    assert held < 300 * 1_000
