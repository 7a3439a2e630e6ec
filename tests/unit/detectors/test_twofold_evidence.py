"""Evidence that lasts opens one alarm; a single weak surprise and a young signal's do not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from plantwatch.detectors.evidence import NO_EVIDENCE, PATIENT, Evidence, EvidenceParameters, weigh

GROWN_UP = 5000


def alarms(surprises: Sequence[float], first: int = GROWN_UP) -> list[bool]:
    evidence, made = NO_EVIDENCE, []
    for now, surprise in enumerate(surprises, start=first):
        evidence = weigh(PATIENT, evidence, surprise, now)
        made.append(evidence.is_open)
    return made


def test_one_weak_surprise_opens_nothing_and_is_forgotten() -> None:
    assert not any(alarms([3.0, 0.0, 0.0] * 100))


def test_weak_surprises_that_last_open_an_alarm() -> None:
    assert alarms([2.3] * 4) == [False, False, False, True]


def test_one_surprise_of_the_strangest_kind_is_enough() -> None:
    assert alarms([5.9, 0.0]) == [False, False]
    assert alarms([6.0, 0.0]) == [True, True]


def test_an_alarm_lasts_until_it_has_been_calm_for_forty_readings() -> None:
    made = alarms([12.0] * 100 + [0.0] * 100)
    # What has been piled up is gone at the eighth reading, the first of forty calm ones.
    assert made.index(False) == 100 + 7 + 39
    assert not any(made[146:])


def test_what_flickers_is_one_alarm() -> None:
    assert all(alarms([12.0, *[0.0] * 30] * 20))


def test_a_young_signal_must_show_more() -> None:
    assert not any(alarms([4.0] * 20, first=100))
    assert any(alarms([4.0] * 20, first=1500))
    assert any(alarms([12.0] * 3, first=100))


def test_calm_running_costs_nothing() -> None:
    assert weigh(PATIENT, NO_EVIDENCE, 0.0, GROWN_UP) is NO_EVIDENCE
    assert weigh(PATIENT, Evidence(0.5), 0.4, GROWN_UP).amount == 0.0


@pytest.mark.parametrize(("wrong", "why"), [({"allowance": 0.0}, "allowance"), ({"most": 4.0}, "open_at")])
def test_senseless_parameters_are_refused(wrong: dict[str, float], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        EvidenceParameters(**wrong)  # type: ignore[arg-type]
