"""The loss ledger names what is missing and knows every repeat."""

import json

from hypothesis import given
from hypothesis import strategies as st

from plantwatch.ledger import EPOCHS_MAX, RANGES_MAX, RECENT_KEYS_MAX, Arrivals, Sequences
from plantwatch.telemetry import Reading


@given(st.lists(st.integers(1, 60)))
def test_ranges_say_exactly_which_numbers_were_seen(numbers: list[int]) -> None:
    seen, model = Sequences(), set[int]()
    for number in numbers:
        assert seen.add(number) == (number not in model)
        model.add(number)
    assert [n for first, last in seen.ranges() for n in range(first, last + 1)] == sorted(model)
    missing = {n for first, last in seen.missing() for n in range(first, last + 1)}
    assert missing == set(range(1, max(model, default=0))) - model
    assert all(before[1] + 1 < after[0] for before, after in zip(seen.ranges(), seen.ranges()[1:], strict=False))


def test_ranges_are_bounded_whatever_is_lost() -> None:
    seen = Sequences()
    for number in range(0, 10 * RANGES_MAX, 2):
        seen.add(number)
    assert len(seen.ranges()) == RANGES_MAX
    assert seen.ranges()[-1][1] == 10 * RANGES_MAX - 2


def reading(sequence: int, *, gateway: str = "gateway-1", epoch: int = 1) -> Reading:
    return Reading("acme", "pump-1", sequence, sequence, {"t": 1.0}, gateway=gateway, epoch=epoch, sequence=sequence)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30))))
def test_a_gateways_repeat_is_known_however_late_and_after_a_restart(arrived: list[tuple[int, int]]) -> None:
    arrivals, model = Arrivals(), set[tuple[int, int]]()
    for epoch, sequence in arrived:
        assert arrivals.note(reading(sequence, epoch=epoch)) == ((epoch, sequence) not in model)
        model.add((epoch, sequence))
        arrivals = Arrivals.from_state(json.loads(json.dumps(arrivals.state())))


def test_two_gateways_may_number_one_device_alike() -> None:
    arrivals = Arrivals()
    assert arrivals.note(reading(1))
    assert arrivals.note(reading(1, gateway="gateway-2"))
    assert reading(1).key != reading(1, gateway="gateway-2").key


def test_what_comes_late_is_never_refused_as_a_repeat() -> None:
    seen = Sequences()
    for number in range(0, 10 * RANGES_MAX, 2):
        seen.add(number)
    assert all(seen.add(number) for number in range(1, 10 * RANGES_MAX, 2))


def test_a_things_recent_repeat_is_known_and_the_memory_is_bounded() -> None:
    arrivals = Arrivals()
    assert all(arrivals.note(reading(at, gateway="")) for at in range(1000))
    assert not arrivals.note(reading(999, gateway=""))
    assert len(arrivals.state()["recent"]) == RECENT_KEYS_MAX


def test_what_two_shards_knew_is_known_where_they_became_one() -> None:
    stale, live = Arrivals(), Arrivals()
    for number in (1, 2, 3):
        stale.note(reading(number))
        live.note(reading(number))
    live.note(reading(9))
    stale.note(reading(1, gateway="gateway-2"))
    for at in range(200):
        (stale if at < 40 else live).note(reading(at, gateway=""))
    for mine, other in ((stale, live), (live, stale)):
        joined = Arrivals.from_state(mine.state())
        joined.join(Arrivals.from_state(other.state()))
        assert [joined.note(reading(number)) for number in (1, 3, 9, 4)] == [False, False, False, True]
        assert not joined.note(reading(1, gateway="gateway-2"))
        assert not any(joined.note(reading(at, gateway="")) for at in (0, 39, 150, 199))
        for at in range(1000, 2000):
            joined.note(reading(at, gateway=""))
        assert len(joined.state()["recent"]) == RECENT_KEYS_MAX
        for number in range(1, 20):
            joined.note(reading(1, gateway=f"gateway-{number}"))
        assert len(joined.state()["epochs"]) == EPOCHS_MAX
