"""What a fleet knows: every value that one of its machines has met, and how strange its machines are to each other."""

from __future__ import annotations

import pytest

from plantwatch.detectors.fleet import Newcomer, Tail, memory_of, merged, with_tail
from plantwatch.detectors.novelty import CELLS, Novelty
from plantwatch.detectors.prior import (
    MET,
    NOTHING_KNOWN,
    PRIOR_CELLS,
    UNMET,
    FleetKnowledge,
    Prior,
    PriorView,
    cells_of,
    judgement_digest,
)
from tests.unit.bundle.fleets import PARAMETERS, prior, running


def tail_of(others: Prior, seed: int, level: float = 20.0) -> Tail:
    newcomer = Newcomer(others, PARAMETERS)
    for value in running(seed, 2000, level):
        newcomer.step(value)
    return newcomer.tail


def test_every_value_that_one_of_them_has_met_is_met() -> None:
    levels = (10.0, 20.0, 45.0)
    known = merged(memory_of(running(seed, 3000, level), PARAMETERS) for seed, level in enumerate(levels))
    assert known is not None
    assert known.machines == len(levels)
    for seed, level in enumerate(levels):
        # The first readings only tell how fine a grid is needed.
        cells = {int(known.position(value)) for value in list(running(seed, 3000, level))[100:]}
        assert {known.raw.cells[cell] for cell in cells} == {MET}
    assert known.raw.cells[int(known.position(32.0))] == UNMET
    low, high = known.band()
    assert 5.0 < low < 10.0 < 45.0 < high < 50.0


def test_memories_of_the_same_machine_are_that_machines_memory() -> None:
    memory = memory_of(running(1, 6000), PARAMETERS)
    known = merged([memory, memory])
    assert known is not None
    alone = Novelty(PARAMETERS)
    alone.restore(memory)
    ordinary = alone.expected()
    assert ordinary is not None
    low, high = known.band()
    assert low == pytest.approx(ordinary[0], abs=0.4)
    assert high == pytest.approx(ordinary[1], abs=0.4)
    assert sum(cell == MET for cell in known.raw.cells) <= 1.2 * alone_met(memory)


def alone_met(memory: object) -> int:
    assert isinstance(memory, dict)
    return sum(cell != UNMET for cell in cells_of(memory["views"][0][0]))


def test_what_never_varied_has_no_prior() -> None:
    constant = memory_of([5.0] * 3000, PARAMETERS)
    assert merged([constant]) is None
    assert merged([]) is None
    known = merged([constant, memory_of(running(1, 3000), PARAMETERS)])
    assert known is not None
    assert known.machines == 1


def test_machines_far_apart_still_share_one_grid() -> None:
    known = merged(memory_of(running(seed, 3000, level), PARAMETERS) for seed, level in enumerate((0.0, 1e6)))
    assert known is not None
    low, high = known.band()
    assert 0.0 <= known.position(low) < known.position(high) <= CELLS
    assert known.position(high) - known.position(low) <= CELLS // 2 + 2


def test_a_fleet_of_equals_is_sharper_than_one_whose_machines_differ() -> None:
    alike = with_tail(prior(), [tail_of(prior(), seed) for seed in range(60, 64)], 16_384)
    apart = with_tail(prior(), [tail_of(prior(), seed, 20.0 + 0.8 * (seed - 62)) for seed in range(60, 65)], 16_384)
    assert alike is not None
    assert apart is not None
    assert alike.raw.count < apart.raw.count
    assert 0.0 < alike.weight <= 16_384


def test_a_stranger_says_nothing_about_the_others_and_strangers_are_no_fleet() -> None:
    own, stranger = tail_of(prior(), 60), tail_of(prior(), 61, 60.0)
    assert stranger.is_a_strangers
    assert not own.is_a_strangers
    assert with_tail(prior(), [own, own, stranger], 1e9) == with_tail(prior(), [own, own], 1e9)
    assert with_tail(prior(), [own, stranger, stranger], 1e9) is None


def test_a_fleet_of_one_has_a_memory_and_no_tail() -> None:
    assert with_tail(prior(machines=1), [], 16_384) == prior(machines=1)


def test_other_numbers_judge_otherwise() -> None:
    digests = {
        judgement_digest("c", NOTHING_KNOWN),
        judgement_digest("c", FleetKnowledge({"a": prior()})),
        judgement_digest("d", FleetKnowledge({"a": prior()})),
        judgement_digest("c", FleetKnowledge({"b": prior()})),
        judgement_digest("c", FleetKnowledge({"a": prior(20.5)})),
    }
    assert judgement_digest("c", NOTHING_KNOWN) == "c"
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (bytes(PRIOR_CELLS), "no cell"),
        (bytes([MET]) * 7, "7 cells"),
        (bytes([1]) * PRIOR_CELLS, "neither"),
    ],
)
def test_cells_that_no_memory_has_are_refused(cells: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        PriorView(cells, 1.0, 0.0, 0.0)
