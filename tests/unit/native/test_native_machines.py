"""Machines score alike with the native core and without, and take over each other's memory."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from plantwatch import native
from plantwatch.machine import Machines
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import Reading

pytestmark = pytest.mark.skipif(not native.in_use(), reason="the native core is not built: no C compiler here")


@pytest.fixture(autouse=True)
def _native_again() -> Iterator[None]:
    yield
    native.use(True)


def machines(*, use_native: bool, snapshot: bytes = b"") -> Machines:
    native.use(use_native)
    made = Machines()
    if snapshot:
        made.restore(snapshot)
    return made


def readings(seed: int, count: int, make: Callable[[str, int, dict[str, float]], Reading]) -> Iterator[Reading]:
    """Three machines in turn; signals come and go, values repeat, some readings are late, and each machine breaks."""
    chance = random.Random(seed)
    for turn in range(count):
        device = f"pump-{turn % 3}"
        fault = 12.0 if turn % 3000 > 2800 else 0.0
        values = {name: chance.gauss(level, 1.0) + fault for name, level in (("t", 20.0), ("p", 4.0), ("v", 0.5))}
        if chance.random() < 0.02:
            del values[chance.choice(("t", "p", "v"))]
        if turn % 500 < 60:
            values["p"] = 4.0
        late = 5_000 if chance.random() < 0.01 else 0
        yield make(device, 1_700_000_000_000 + turn * 100 - late, values)


def reading(device: str, at: int, values: dict[str, float]) -> Reading:
    return Reading("acme", device, at, at, values)


def test_every_verdict_is_the_same() -> None:
    with_core, without = machines(use_native=True), machines(use_native=False)
    verdicts: list[ScoredReading] = []
    for one in readings(1, 9000, reading):
        verdicts.append(with_core.watch(one))
        assert verdicts[-1] == without.watch(one)
    assert any(verdict.transitions for verdict in verdicts), "something has happened"
    assert with_core.snapshot() == without.snapshot()


def test_a_snapshot_of_one_is_taken_over_by_the_other() -> None:
    stream = list(readings(2, 6000, reading))
    pure = machines(use_native=False)
    for one in stream[:3000]:
        pure.watch(one)
    with_core = machines(use_native=True, snapshot=pure.snapshot())
    assert [with_core.watch(one) for one in stream[3000:]] == [pure.watch(one) for one in stream[3000:]]
    assert machines(use_native=False, snapshot=with_core.snapshot()).snapshot() == pure.snapshot()
