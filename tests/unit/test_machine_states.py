"""A machine with known states, with maintenance, and with late readings: what is scored, learnt, opened, and said."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from plantwatch.incident import Fault, FirstSign, Kind, Phase
from plantwatch.machine import Machines, WatchConfig
from plantwatch.maintenance import Maintenance, MaintenanceWindow
from plantwatch.scoring import ScoredReading, Suppression
from plantwatch.states.rules import StateRule, StateRules, When
from plantwatch.telemetry import EpochMs, Reading

START: EpochMs = 1_700_000_000_000
SECOND: EpochMs = 1000

STATES = StateRules(
    (
        StateRule("off", When(attribute="mode", equals="off"), watched=False),
        StateRule("cleaning", When(attribute="mode", equals="cip")),
        StateRule("running", When(attribute="mode", equals="run")),
    )
)
CONFIG = WatchConfig(states=STATES)
# Flow and pressure of a pump while it runs, and while it is being cleaned.
LEVELS = {"run": (60.0, 5.0), "cip": (20.0, 2.0), "off": (0.0, 0.0)}


class Plant:
    """A pump that runs, is cleaned and switched off, one reading a second."""

    def __init__(self, machines: Machines, seed: int = 1) -> None:
        self.machines = machines
        self.at = START
        self._chance = random.Random(seed)

    def live(self, mode: str, seconds: int, **instead: float) -> list[ScoredReading]:
        """What the readings of so many seconds in this mode are worth."""
        return [self.machines.watch(one) for one in self.readings(mode, seconds, **instead)]

    def readings(self, mode: str, seconds: int, **instead: float) -> Iterator[Reading]:
        flow, pressure = LEVELS[mode]
        for _ in range(seconds):
            self.at += SECOND
            signals = {"flow": flow, "pressure": pressure}
            if mode != "off":
                signals = {
                    "flow": round(self._chance.gauss(flow, 0.5), 3),
                    "pressure": round(self._chance.gauss(pressure, 0.05), 4),
                }
            yield Reading("acme", "pump-1", self.at, self.at, {**signals, **instead}, {"mode": mode})


def turns(scored: list[ScoredReading]) -> list[tuple[Kind, Phase]]:
    return [(turn.kind, turn.phase) for one in scored for turn in one.transitions]


def cycled(config: WatchConfig) -> Plant:
    """Three cycles of a quarter of an hour, each state in turn."""
    plant = Plant(Machines(config))
    for _ in range(3):
        plant.live("run", 600)
        plant.live("cip", 300)
    return plant


def test_a_cleaning_cycle_is_no_novelty_of_running() -> None:
    plant = cycled(CONFIG)
    scored = plant.live("run", 200) + plant.live("cip", 200) + plant.live("run", 200)
    assert turns(scored) == []
    assert {one.state for one in scored} == {"running", "cleaning"}
    assert sum(one.score > 0.99 for one in scored) <= 6


def test_what_is_novel_in_running_is_not_hidden_by_values_of_cleaning() -> None:
    with_states, without = cycled(CONFIG), cycled(WatchConfig())
    # Running with the flow and pressure of cleaning: a burst pipe.
    fault = {"flow": 20.1, "pressure": 2.01}
    with_states.live("run", 100)
    without.live("run", 100)
    assert turns(without.live("run", 60, **fault)) == []
    assert turns(with_states.live("run", 60, **fault)) == [(Kind.PROCESS_ANOMALY, Phase.OPENED)]


def test_a_state_that_is_not_watched_is_scored_0_and_said_to_be_suppressed() -> None:
    plant = cycled(CONFIG)
    off = plant.live("off", 3600)
    assert {(one.score, one.state, one.suppression, one.warming_up) for one in off} == {
        (0.0, "off", Suppression.STATE, False)
    }
    assert not any(one.faults or one.transitions for one in off)
    back = plant.live("run", 300)
    assert turns(back) == []
    assert {one.suppression for one in back} == {None}


def test_an_incident_stays_open_while_the_machine_is_off() -> None:
    plant = cycled(CONFIG)
    plant.live("run", 100)
    assert turns(plant.live("run", 60, pressure=9.0)) == [(Kind.PROCESS_ANOMALY, Phase.OPENED)]
    off = plant.live("off", 600)
    assert turns(off) == []
    assert off[-1].open_kinds == (Kind.PROCESS_ANOMALY,)
    assert turns(plant.live("run", 300)) == [(Kind.PROCESS_ANOMALY, Phase.CLEARED)]


def test_an_incident_goes_on_from_one_state_into_another_and_its_causes_still_sum_to_1() -> None:
    plant = cycled(CONFIG)
    plant.live("run", 100)
    before = plant.live("run", 6, pressure=9.0)
    after = plant.live("cip", 30, pressure=9.5)
    ((opened, *_),) = [one.transitions for one in before + after if one.transitions]
    assert opened.phase is Phase.OPENED
    assert opened.first_seen == before[0].reading.observed_at
    assert sum(cause.share for cause in opened.causes) == pytest.approx(1.0)
    assert opened.first_sign == FirstSign("pressure", before[0].reading.observed_at)


def test_nothing_is_learnt_in_any_state_while_something_is_wrong() -> None:
    plant = cycled(CONFIG)
    plant.live("run", 100)
    plant.live("run", 60, pressure=9.0)
    memory = plant.machines.find("acme", "pump-1")
    assert memory is not None
    plant.live("cip", 1)
    band = memory.signals["pressure"].detector.expected()
    plant.live("cip", 3000, pressure=9.0)
    assert memory.signals["pressure"].detector.expected() == band


def test_each_state_warms_up_by_itself() -> None:
    plant = Plant(Machines(CONFIG))
    assert not plant.live("run", 600)[-1].warming_up
    assert plant.live("cip", 10)[-1].warming_up
    assert not plant.live("cip", 600)[-1].warming_up
    assert not plant.live("run", 10)[-1].warming_up


def test_a_silence_across_a_change_of_state_is_still_a_gap() -> None:
    plant = cycled(CONFIG)
    plant.at += 3600 * SECOND
    (first,) = plant.live("run", 1)
    assert {fault.fault for fault in first.faults} == {Fault.GAP}


def test_a_silence_while_the_machine_is_off_is_none() -> None:
    plant = cycled(CONFIG)
    plant.live("off", 1)
    plant.at += 3600 * SECOND
    assert turns(plant.live("run", 100)) == []


def test_a_late_reading_is_scored_by_the_state_that_it_tells_and_said_to_be_late() -> None:
    plant = cycled(CONFIG)
    plant.live("cip", 100)
    values = {"flow": 60.0, "pressure": 5.0}
    late = Reading("acme", "pump-1", plant.at - 500_000, plant.at, values, {"mode": "run"})
    scored = plant.machines.watch(late)
    assert (scored.score, scored.suppression) == (0.0, Suppression.LATE)
    assert plant.machines.watch(late._replace(attributes={"mode": "cip"})).score > 0.99
    assert plant.machines.watch(late._replace(attributes={"mode": "off"})).score == 0.0


def test_no_more_signals_than_one_state_may_have_are_kept_in_each() -> None:
    machines = Machines(CONFIG)
    at = START
    for mode in ("run", "cip", "off", "run"):
        for number in range(300):
            at += SECOND
            machines.watch(Reading("acme", "pump-1", at, at, {f"s{number}": 1.0}, {"mode": mode}))
    machine = machines.find("acme", "pump-1")
    assert machine is not None
    assert len(machine.signals) == 256
    assert len(machine.state()["by_state"]) == 2


@pytest.mark.parametrize("age", [0, 1, 400, 700, 1900, 2650, 2690, 2750])
def test_a_snapshot_amid_states_maintenance_and_incidents_goes_on_to_the_last_bit(age: int) -> None:
    def life() -> Iterator[Reading]:
        plant = Plant(Machines(CONFIG))
        for _ in range(2):
            yield from plant.readings("run", 700)
            yield from plant.readings("cip", 500)
        yield from plant.readings("run", 250)
        yield from plant.readings("run", 50, pressure=9.0)
        yield from plant.readings("off", 50)
        yield from plant.readings("cip", 200, flow=90.0)
        yield from plant.readings("run", 200)

    calendar = Maintenance([MaintenanceWindow(START + 600 * SECOND, START + 800 * SECOND)])
    whole, parts = Machines(CONFIG, maintenance=calendar), Machines(CONFIG, maintenance=calendar)
    for index, one in enumerate(life()):
        if index == age:
            resumed = Machines(CONFIG, maintenance=calendar)
            resumed.restore(parts.snapshot())
            parts = resumed
        assert parts.watch(one) == whole.watch(one)
    assert parts.snapshot() == whole.snapshot()


def test_a_snapshot_of_version_0_1_without_signs_is_still_good() -> None:
    plant = Plant(Machines())
    plant.live("run", 900)
    machine = plant.machines.find("acme", "pump-1")
    assert machine is not None
    state = machine.state()
    del state["signs"]
    state["signals"] = {name: memory[:3] for name, memory in state["signals"].items()}
    older = Machines()
    older.watch(Reading("acme", "pump-1", START, START, {"flow": 1.0}))
    restored = older.find("acme", "pump-1")
    assert restored is not None
    restored.restore(state)
    assert restored.watch(one := next(plant.readings("run", 1))) == machine.watch(one)


def test_rules_of_states_are_part_of_the_digest_and_their_absence_is_not() -> None:
    assert CONFIG.digest != WatchConfig().digest
    assert WatchConfig(states=StateRules(default="idle")).digest == WatchConfig().digest
    assert "states" not in WatchConfig().plain()


# Maintenance


def maintained(begin_s: int, end_s: int, devices: str = "*") -> Maintenance:
    return Maintenance([MaintenanceWindow(START + begin_s * SECOND, START + end_s * SECOND, "work", devices)])


def test_during_maintenance_readings_are_scored_and_no_incident_opens() -> None:
    plant = Plant(Machines(maintenance=maintained(1000, 1500)))
    plant.live("run", 999)
    during = plant.live("run", 500, pressure=9.0)
    assert {one.suppression for one in during} == {Suppression.MAINTENANCE}
    assert all(one.score > 0.99 for one in during[:20])
    assert turns(during) == []
    after = plant.live("run", 300)
    assert turns(after) == []
    assert {one.suppression for one in after} == {None}


def test_nothing_that_is_met_during_maintenance_becomes_normal() -> None:
    plant = Plant(Machines(maintenance=maintained(1000, 5000)))
    plant.live("run", 999)
    machine = plant.machines.find("acme", "pump-1")
    assert machine is not None
    before = {name: signal.detector.state() for name, signal in machine.signals.items()}
    plant.live("run", 4000, pressure=9.0)
    assert {name: signal.detector.state() for name, signal in machine.signals.items()} == before
    assert turns(plant.live("run", 60, pressure=9.01)) == [(Kind.PROCESS_ANOMALY, Phase.OPENED)]


def test_a_signal_that_appears_during_maintenance_is_met_afterwards() -> None:
    plant = Plant(Machines(maintenance=maintained(1000, 1100)))
    plant.live("run", 999)
    plant.live("run", 100, test_probe=1.0)
    machine = plant.machines.find("acme", "pump-1")
    assert machine is not None
    assert set(machine.signals) == {"flow", "pressure"}


def test_an_incident_that_is_open_stays_open_through_maintenance() -> None:
    plant = Plant(Machines(maintenance=maintained(1100, 2000)))
    plant.live("run", 1000)
    assert turns(plant.live("run", 99, pressure=9.0)) == [(Kind.PROCESS_ANOMALY, Phase.OPENED)]
    during = plant.live("run", 900)
    assert turns(during) == []
    assert during[-1].open_kinds == (Kind.PROCESS_ANOMALY,)
    assert turns(plant.live("run", 300)) == [(Kind.PROCESS_ANOMALY, Phase.CLEARED)]


def test_a_silence_in_which_somebody_worked_is_no_gap() -> None:
    plant = Plant(Machines(maintenance=maintained(1100, 2000)))
    plant.live("run", 1000)
    plant.at += 3000 * SECOND
    assert turns(plant.live("run", 100)) == []
    plant.at += 3000 * SECOND
    assert turns(plant.live("run", 1)) == [(Kind.SENSOR_FAULT, Phase.OPENED)]


def test_a_sensor_that_is_unplugged_during_maintenance_opens_nothing_and_teaches_nothing() -> None:
    plant = Plant(Machines(maintenance=maintained(1000, 2000)))
    plant.live("run", 999)
    during = plant.live("run", 1000, pressure=5.0)
    assert turns(during) == []
    assert {fault.fault for one in during for fault in one.faults} == {Fault.STUCK}
    plant.live("run", 200)
    assert turns(plant.live("run", 100, pressure=5.0)) == [(Kind.SENSOR_FAULT, Phase.OPENED)]


def test_windows_hold_for_the_devices_that_they_name() -> None:
    plant = Plant(Machines(maintenance=maintained(0, 5000, "fan-*")))
    assert {one.suppression for one in plant.live("run", 100)} == {None}
    plant.machines.maintain(maintained(0, 5000, "pump-*"))
    assert {one.suppression for one in plant.live("run", 100)} == {Suppression.MAINTENANCE}
    plant.machines.maintain(Maintenance())
    assert {one.suppression for one in plant.live("run", 100)} == {None}


def test_the_signal_that_moved_first_is_the_first_sign() -> None:
    plant = Plant(Machines())
    plant.live("run", 1000)
    first = plant.live("run", 4, flow=80.0)[0].reading.observed_at
    scored = plant.live("run", 60, flow=80.0, pressure=9.0)
    (opened,) = [turn for one in scored for turn in one.transitions]
    assert {cause.signal for cause in opened.causes} == {"flow", "pressure"}
    assert opened.first_sign == FirstSign("flow", first)
    (cleared,) = [turn for one in plant.live("run", 300) for turn in one.transitions]
    assert cleared.first_sign == opened.first_sign


def test_the_sensor_that_failed_first_is_the_first_sign_of_its_fault() -> None:
    plant = Plant(Machines())
    plant.live("run", 1000)
    scored = plant.live("run", 100, pressure=5.0)
    (opened,) = [turn for one in scored for turn in one.transitions]
    assert opened.first_sign == FirstSign("pressure", opened.first_seen)
