"""Numbers without holes or repeats, however many devices and sources come and go."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_component.numbering import Numbering, SourceDevice, Taking


class Disk:
    """What the spool would know: the numbers of everything that was committed."""

    def __init__(self) -> None:
        self.taken: dict[SourceDevice, int] = {}
        self.numbered: dict[str, int] = {}

    def numbering(self, kept: int = 100) -> Numbering:
        return Numbering(
            last_taken=lambda key: self.taken.get(key, 0),
            last_numbered=lambda device: self.numbered.get(device, 0),
            sources_max=kept,
            devices_max=kept,
        )


def test_numbers_are_contiguous_per_device() -> None:
    numbering = Disk().numbering()
    assert [numbering.next_sequence(device) for device in "aabab"] == [1, 2, 1, 3, 2]


def test_only_devices_that_moved_are_told() -> None:
    numbering = Disk().numbering()
    for device in "aab":
        numbering.next_sequence(device)
    assert numbering.take_moved() == {"a": 2, "b": 1}
    numbering.next_sequence("b")
    assert numbering.take_moved() == {"b": 2}
    assert numbering.take_moved() == {}


def test_a_source_is_known_by_name_and_device() -> None:
    disk = Disk()
    disk.taken["driver", "a"] = 7
    numbering = disk.numbering()
    assert numbering.take("driver", "a", 7) is Taking.REPEATED
    assert numbering.take("driver", "a", 9) is Taking.TOO_EARLY
    assert numbering.take("driver", "a", 8) is Taking.NEXT
    assert numbering.take("driver", "b", 1) is Taking.NEXT
    assert numbering.take("driver-2", "a", 1) is Taking.NEXT
    assert numbering.last_taken("driver", "a") == 8


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans())))
def test_what_was_forgotten_goes_on_where_it_was(steps: list[tuple[int, bool]]) -> None:
    disk, last = Disk(), Counter[str]()
    numbering = disk.numbering(kept=4)
    for number, commits in steps:
        device = f"pump-{number}"
        last[device] += 1
        assert numbering.take("driver", device, last[device]) is Taking.NEXT
        assert numbering.next_sequence(device) == last[device]
        if commits:
            disk.numbered.update(last)
            disk.taken.update({("driver", name): sequence for name, sequence in last.items()})
            numbering.all_is_on_disk()


def test_memory_is_bounded_however_many_names_come_and_go() -> None:
    numbering = Disk().numbering(kept=100)
    for number in range(10_000):
        numbering.next_sequence(f"pump-{number}")
        numbering.take(f"driver-{number}", "pump", 1)
        if number % 10 == 0:
            numbering.all_is_on_disk()
            numbering.take_moved()
            assert len(numbering) <= 2 * (100 + 10)


@pytest.mark.parametrize("device", ["a", "b"])
def test_nothing_is_forgotten_that_is_not_on_disk(device: str) -> None:
    numbering = Disk().numbering(kept=1)
    for name in "ab":
        numbering.next_sequence(name)
    assert numbering.next_sequence(device) == 2
