"""A machine's readings through checks, detectors and decisions, and the memory of many machines."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plantwatch.incident import Fault, Kind, Phase, Transition
from plantwatch.machine import Machines, WatchConfig
from plantwatch.machine.incidents import FAULT_SURPRISE
from plantwatch.policy import AlertPolicy
from plantwatch.quality import PhysicalRange, QualityLimits
from plantwatch.scoring import ScoredReading, SensorFault
from plantwatch.telemetry import SIGNALS_MAX, EpochMs, Reading

START: EpochMs = 1_700_000_000_000
SECOND: EpochMs = 1000


def reading(at: EpochMs, *missing: str, device: str = "pump-1", tenant: str = "acme", **signals: float) -> Reading:
    return Reading(tenant, device, at, at, signals, missing=missing)


def ordinary(seed: int = 1, start: EpochMs = START, device: str = "pump-1") -> Iterator[Reading]:
    """One reading a second of a machine that is well, for as long as one asks."""
    chance = random.Random(seed)
    at = start
    while True:
        yield reading(
            at,
            device=device,
            temperature=round(chance.gauss(60.0, 0.5), 3),
            pressure=round(chance.gauss(5.0, 0.05), 4),
        )
        at += SECOND


def learned(machines: Machines, readings: int = 900, seed: int = 1) -> Iterator[Reading]:
    """Teach the machine; what is left of its ordinary life comes back."""
    life = ordinary(seed)
    for _ in range(readings):
        machines.watch(next(life))
    return life


def changed(ordinary_reading: Reading, **signals: float) -> Reading:
    return ordinary_reading._replace(signals={**ordinary_reading.signals, **signals})


def transitions(scored: list[ScoredReading]) -> list[tuple[Kind, Phase]]:
    return [(turn.kind, turn.phase) for one in scored for turn in one.transitions]


def opened(scored: list[ScoredReading]) -> Transition:
    (found,) = [turn for one in scored for turn in one.transitions if turn.phase is Phase.OPENED]
    return found


def test_while_warming_up_every_score_is_zero_and_said_to_be() -> None:
    machines = Machines()
    life = ordinary()
    first = machines.watch(next(life))
    assert (first.score, first.warming_up, first.bundle) == (0.0, True, machines.bundle)
    for _ in range(600):
        last = machines.watch(next(life))
    assert not last.warming_up


def test_a_warm_up_says_how_long_it_will_still_take() -> None:
    machines = Machines()
    scored = [machines.watch(one) for one, _ in zip(ordinary(), range(400), strict=False)]
    over = next(one.reading.observed_at for one in scored if not one.warming_up)
    assert scored[0].ready_in_s is None
    for one in scored[1:]:
        expected = math.ceil((over - one.reading.observed_at) / 1000) if one.warming_up else None
        assert one.ready_in_s == expected


def test_nobody_can_tell_how_long_a_constant_signal_will_warm_up() -> None:
    machines = Machines()
    scored = [machines.watch(reading(START + turn * SECOND, speed=5.0)) for turn in range(300)]
    assert all(one.warming_up for one in scored)
    assert scored[-1].ready_in_s is None


def test_a_pressure_loss_opens_one_process_incident_with_its_cause() -> None:
    machines = Machines()
    life = learned(machines)
    scored = [machines.watch(changed(next(life), pressure=3.0)) for _ in range(60)]
    transition = opened(scored)
    assert transition.kind is Kind.PROCESS_ANOMALY
    assert transition.first_seen == START + 900 * SECOND
    cause = transition.causes[0]
    assert (cause.signal, cause.observed, cause.fault) == ("pressure", 3.0, None)
    assert cause.expected_low is not None
    assert cause.expected_high is not None
    assert 4.6 < cause.expected_low < 5.0 < cause.expected_high < 5.4
    assert sum(cause.share for cause in transition.causes) == pytest.approx(1.0)
    assert scored[-1].open_kinds == (Kind.PROCESS_ANOMALY,)
    assert scored[-1].score > 0.99
    assert scored[-1].shares[0][0] == "pressure"


def test_an_incident_clears_when_the_machine_is_well_again_and_keeps_its_name() -> None:
    machines = Machines()
    life = learned(machines)
    during = [machines.watch(changed(next(life), pressure=3.0)) for _ in range(60)]
    after = [machines.watch(next(life)) for _ in range(300)]
    assert transitions(during + after) == [
        (Kind.PROCESS_ANOMALY, Phase.OPENED),
        (Kind.PROCESS_ANOMALY, Phase.CLEARED),
    ]
    cleared = next(turn for one in after for turn in one.transitions)
    assert cleared.first_seen == opened(during).first_seen
    assert cleared.causes == opened(during).causes
    assert after[-1].open_kinds == ()


def test_a_fault_that_lasts_is_not_learnt_until_it_is_accepted_as_a_new_normal() -> None:
    machines = Machines(WatchConfig(accept_after_s=1800.0))
    life = learned(machines)
    lasting = [machines.watch(changed(next(life), pressure=3.0 + turn % 7 / 100)) for turn in range(4500)]
    cleared_after = next(
        index for index, one in enumerate(lasting) for turn in one.transitions if turn.phase is Phase.CLEARED
    )
    assert cleared_after > 1800
    assert transitions(lasting[cleared_after + 1 :]) == []


def test_a_stuck_sensor_is_a_sensor_fault_and_no_process_anomaly() -> None:
    machines = Machines()
    life = learned(machines)
    last = next(life)
    machines.watch(last)
    scored = [machines.watch(changed(next(life), temperature=last.signals["temperature"])) for _ in range(600)]
    assert transitions(scored) == [(Kind.SENSOR_FAULT, Phase.OPENED)]
    (cause,) = opened(scored).causes
    assert (cause.signal, cause.fault, cause.share) == ("temperature", Fault.STUCK, 1.0)
    assert scored[-1].faults == (SensorFault("temperature", Fault.STUCK),)


def test_a_pressure_that_falls_to_exactly_zero_is_the_process_not_the_sensor() -> None:
    machines = Machines()
    life = learned(machines)
    scored = [machines.watch(changed(next(life), pressure=0.0)) for _ in range(200)]
    assert transitions(scored) == [(Kind.PROCESS_ANOMALY, Phase.OPENED)]


def test_an_impossible_value_is_a_sensor_fault_that_the_detector_never_sees() -> None:
    limits = QualityLimits(ranges=(PhysicalRange("temperature", -40.0, 150.0),))
    machines = Machines(WatchConfig(quality=limits))
    life = learned(machines)
    once = machines.watch(changed(next(life), temperature=3276.7))
    assert (once.score, once.faults, once.transitions) == (0.0, (SensorFault("temperature", Fault.OUT_OF_RANGE),), ())
    scored = [machines.watch(changed(next(life), temperature=3276.7)) for _ in range(10)]
    assert transitions(scored) == [(Kind.SENSOR_FAULT, Phase.OPENED)]
    (cause,) = opened(scored).causes
    assert cause == ("temperature", 1.0, 3276.7, -40.0, 150.0, Fault.OUT_OF_RANGE)
    back = [machines.watch(next(life)) for _ in range(100)]
    assert transitions(back) == [(Kind.SENSOR_FAULT, Phase.CLEARED)]


def test_silence_is_a_fault_of_every_sensor_that_was_silent() -> None:
    machines = Machines()
    life = learned(machines)
    late = [one._replace(observed_at=one.observed_at + 600 * SECOND) for one in (next(life) for _ in range(100))]
    scored = [machines.watch(one) for one in late]
    assert scored[0].faults == (SensorFault("temperature", Fault.GAP), SensorFault("pressure", Fault.GAP))
    assert transitions(scored) == [(Kind.SENSOR_FAULT, Phase.OPENED), (Kind.SENSOR_FAULT, Phase.CLEARED)]


def test_a_sensor_that_gives_no_value_is_a_fault_after_five_times() -> None:
    machines = Machines()
    life = learned(machines)
    scored = [
        machines.watch(one._replace(signals={"temperature": one.signals["temperature"]}, missing=("pressure",)))
        for one in (next(life) for _ in range(8))
    ]
    assert [bool(one.faults) for one in scored] == [False] * 4 + [True] * 4
    (cause,) = opened(scored).causes
    assert (cause.signal, cause.observed, cause.fault) == ("pressure", None, Fault.NOT_FINITE)


def test_a_reading_with_missing_values_only_is_watched() -> None:
    scored = Machines().watch(reading(START, "temperature"))
    assert (scored.score, scored.faults, scored.warming_up) == (0.0, (), True)


def test_one_glitch_is_scored_and_alerts_nobody() -> None:
    machines = Machines()
    life = learned(machines)
    glitch = machines.watch(changed(next(life), pressure=500.0))
    assert glitch.score > 0.999
    assert transitions([machines.watch(next(life)) for _ in range(300)]) == []


def test_a_late_reading_is_scored_and_changes_nothing() -> None:
    machines, untouched = Machines(), Machines()
    life, _ = learned(machines), learned(untouched)
    straggler = reading(START + 5 * SECOND, temperature=60.0, pressure=2.0)
    scored = machines.watch(straggler)
    assert scored.score > 0.99
    assert scored.transitions == ()
    assert machines.counts.late_readings == 1
    for _ in range(200):
        one = next(life)
        assert machines.watch(one) == untouched.watch(one)


def test_a_clock_that_was_set_back_is_followed_after_fifty_readings() -> None:
    machines = Machines()
    learned(machines)
    life = ordinary(seed=2, start=START - 24 * 3600 * SECOND)
    received = START + 1000 * SECOND
    scored = [machines.watch(next(life)._replace(received_at=received + turn)) for turn in range(200)]
    assert transitions(scored) == []
    assert machines.counts.late_readings == 51
    assert transitions([machines.watch(changed(next(life), pressure=2.0)) for _ in range(30)])


def test_a_stretch_that_is_read_again_changes_nothing() -> None:
    """As after a restart from a checkpoint that is older than the snapshot."""
    machines, untouched = Machines(), Machines()
    life, _ = learned(machines), learned(untouched)
    again = ordinary()
    for _ in range(899):
        machines.watch(next(again))
    assert machines.counts.late_readings == 899
    for _ in range(100):
        one = next(life)
        assert machines.watch(one) == untouched.watch(one)


def test_only_observed_time_counts() -> None:
    """The same readings, received years later and all at once, are judged alike."""
    live, replayed = Machines(), Machines()
    life = ordinary()
    for turn in range(1500):
        one = next(life)
        one = changed(one, pressure=3.0) if turn > 1400 else one
        now, later = live.watch(one), replayed.watch(one._replace(received_at=START * 2))
        assert now._replace(reading=one) == later._replace(reading=one)


def test_a_signal_that_appears_later_is_learnt_beside_the_others() -> None:
    machines = Machines()
    life = learned(machines)
    chance = random.Random(9)
    scored = [machines.watch(changed(next(life), current=chance.gauss(14.0, 0.3))) for _ in range(900)]
    assert transitions(scored) == []
    assert not scored[0].warming_up
    found = opened([machines.watch(changed(next(life), current=40.0 + chance.random())) for _ in range(60)])
    assert found.causes[0].signal == "current"


def test_machines_do_not_know_each_other() -> None:
    together, alone = Machines(), Machines()
    lives = [ordinary(seed=7), ordinary(seed=8, device="pump-2")]
    for turn in range(1200):
        first, second = (next(life) for life in lives)
        together.watch(changed(second, pressure=9.0 + turn % 3) if turn > 900 else second)
        assert together.watch(first) == alone.watch(first)


def test_the_same_device_name_of_two_tenants_is_two_machines() -> None:
    machines = Machines()
    machines.watch(reading(START, temperature=1.0))
    machines.watch(reading(START, tenant="globex", temperature=1.0))
    assert len(machines) == 2


def test_the_longest_silent_machine_makes_room() -> None:
    machines = Machines(machines_max=2)
    for turn, device in enumerate(("a", "b", "a", "c", "a")):
        machines.watch(reading(START + turn * SECOND, device=device, temperature=1.0))
    assert len(machines) == 2
    assert machines.counts.evicted_machines == 1
    assert machines.watch(reading(START, device="a", temperature=1.0)).transitions == ()
    assert machines.counts.late_readings == 1, "a was kept"


def test_the_longest_silent_signal_makes_room() -> None:
    machines = Machines()
    for turn in range(SIGNALS_MAX + 10):
        one = reading(START + turn * SECOND, always=float(turn))
        machines.watch(changed(one, **{f"signal_{turn}": 1.0}))
    assert machines.counts.evicted_signals == 11


def test_a_snapshot_goes_on_with_the_same_result() -> None:
    original = Machines()
    lives = [ordinary(seed=3), ordinary(seed=4, device="pump-2")]
    for turn in range(1000):
        for life in lives:
            one = next(life)
            original.watch(changed(one, pressure=3.0) if turn > 985 else one)
    restored = Machines()
    restored.restore(original.snapshot())
    assert restored.snapshot() == original.snapshot()
    for turn in range(400):
        for life in lives:
            one = next(life)
            one = changed(one, pressure=3.0) if turn < 20 else one
            assert restored.watch(one) == original.watch(one)


@settings(max_examples=25)
@given(st.integers(0, 1100))
def test_a_snapshot_at_any_age_goes_on_with_the_same_result(age: int) -> None:
    original, restored = Machines(), Machines()
    life = ordinary(seed=5)
    for _ in range(age):
        original.watch(next(life))
    restored.restore(original.snapshot())
    for turn in range(40):
        one = next(life)
        one = changed(one, pressure=3.0, temperature=60.0) if turn > 10 else one
        assert restored.watch(one) == original.watch(one)


def test_a_snapshot_is_small() -> None:
    machines = Machines()
    learned(machines)
    assert len(machines.snapshot()) < 2048


def test_a_snapshot_of_another_bundle_is_refused() -> None:
    other = Machines(WatchConfig(process_policy=AlertPolicy(open_at=50.0)))
    machines = Machines()
    with pytest.raises(ValueError, match=f"belongs to bundle {other.bundle}"):
        machines.restore(other.snapshot())


@pytest.mark.parametrize("damage", [b"", b"PWM1", b"PWM9" + bytes(60)])
def test_what_is_no_snapshot_is_refused(damage: bytes) -> None:
    with pytest.raises(ValueError, match="snapshot"):
        Machines().restore(damage)


@given(st.data())
def test_a_damaged_snapshot_is_refused_and_nothing_is_lost(data: st.DataObject) -> None:
    machines = Machines()
    machines.watch(reading(START, temperature=1.0))
    snapshot = bytearray(machines.snapshot())
    place = data.draw(st.integers(0, len(snapshot) - 1))
    snapshot[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="snapshot"):
        machines.restore(bytes(snapshot))
    with pytest.raises(ValueError, match="snapshot"):
        machines.restore(bytes(snapshot[:place]))
    assert len(machines) == 1


def test_a_snapshot_with_more_machines_than_allowed_is_refused() -> None:
    many = Machines()
    for device in "abc":
        many.watch(reading(START, device=device, temperature=1.0))
    with pytest.raises(ValueError, match="holds 3 machines, the limit is 2"):
        Machines(machines_max=2).restore(many.snapshot())


def test_the_digest_names_all_parameters() -> None:
    plain = WatchConfig()
    assert plain.digest == WatchConfig().digest
    assert len(plain.digest) == 16
    others = [
        dataclasses.replace(plain, detector=dataclasses.replace(plain.detector, warm_up=300)),
        dataclasses.replace(plain, process_policy=AlertPolicy(clear_after_s=61.0)),
        dataclasses.replace(plain, quality=QualityLimits(ranges=(PhysicalRange("*", 0.0, 1.0),))),
        dataclasses.replace(plain, accept_after_s=1.0),
    ]
    assert len({plain.digest, *(other.digest for other in others)}) == 5


def test_a_limit_below_one_machine_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Machines(machines_max=0)


def test_every_fault_has_its_weight() -> None:
    assert set(FAULT_SURPRISE) == set(Fault)
