"""A machine whose fleet has shown how its signals follow one another."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from plantwatch.bundle.learn import learn
from plantwatch.bundle.model import Bundle
from plantwatch.incident import Kind, Phase, Transition
from plantwatch.machine import Machines
from plantwatch.states.rules import StateRule, StateRules, When
from plantwatch.telemetry import EpochMs, Reading
from plantwatch.watch_config import WatchConfig

START: EpochMs = 1_700_000_000_000
Values = dict[str, float]


def running(seed: int, seconds: int) -> Iterator[tuple[EpochMs, Values]]:
    """Load moves current and temperature; the weather moves neither."""
    chance, load = random.Random(seed), 0.0
    for second in range(seconds):
        load = 0.98 * load + math.sqrt(1 - 0.98**2) * chance.gauss(0.0, 1.0)
        yield (
            START + second * 1000,
            {
                "current": round(14.0 + load + 0.1 * chance.gauss(0.0, 1.0), 3),
                "temperature": round(60.0 + 2.0 * load + 0.2 * chance.gauss(0.0, 1.0), 3),
                "weather": round(10.0 + chance.gauss(0.0, 1.0), 3),
            },
        )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("fleet")
    files = []
    for machine in range(4):
        file = folder / f"pump-{machine}.csv"
        rows = [f"{at},{','.join(map(str, values.values()))}" for at, values in running(machine, 4000)]
        file.write_text("\n".join(["ts,current,temperature,weather", *rows, ""]))
        files.append(file)
    return learn(files, name="pumps", machine_type="pump", config=WatchConfig(), now=START)


def opened(machines: Machines, readings: Iterator[tuple[EpochMs, Values]]) -> list[tuple[EpochMs, Transition]]:
    found = []
    for at, values in readings:
        scored = machines.watch(Reading("acme", "pump-9", at, at, values))
        found += [(at, turn) for turn in scored.transitions if turn.phase is Phase.OPENED]
    return found


def warm_for_its_load(seed: int, seconds: int, since_s: int) -> Iterator[tuple[EpochMs, Values]]:
    """From then on as warm as under full load, whatever the load is: never out of its range for long."""
    for at, values in running(seed, seconds):
        late = (at - START) / 1000 >= since_s
        yield at, values | {"temperature": values["temperature"] + 3.0} if late else values


def test_the_fleet_shows_what_follows_what(bundle: Bundle) -> None:
    assert bundle.relation is not None
    assert bundle.relation.targets == ("current", "temperature")
    assert set(bundle.deviations) == {"current", "temperature"}


def test_a_temperature_that_leaves_its_load_is_found_and_named(bundle: Bundle) -> None:
    ((at, transition),) = opened(Machines.of(bundle), warm_for_its_load(50, 900, since_s=600))
    assert transition.kind is Kind.PROCESS_ANOMALY
    assert 0 < (at - START) / 1000 - 600 < 30
    # Nothing else is related to either, so nobody can tell which of the two is wrong.
    assert {cause.signal for cause in transition.causes} == {"current", "temperature"}
    assert sum(cause.share for cause in transition.causes) == pytest.approx(1.0)
    temperature = next(cause for cause in transition.causes if cause.signal == "temperature")
    assert temperature.expected_high is not None
    assert temperature.observed is not None
    # The band is that of its present load, in degrees.
    assert 50.0 < temperature.expected_high < temperature.observed


def test_it_is_found_sooner_than_by_each_signal_alone(bundle: Bundle) -> None:
    alone = Machines(bundle.config)
    late = opened(alone, warm_for_its_load(50, 900, since_s=600))
    ((at, _),) = opened(Machines.of(bundle), warm_for_its_load(50, 900, since_s=600))
    assert not late or at < late[0][0]


def test_load_alone_opens_nothing(bundle: Bundle) -> None:
    assert opened(Machines.of(bundle), running(60, 3000)) == []


def test_a_reading_without_one_of_the_related_signals_is_watched_all_the_same(bundle: Bundle) -> None:
    machines = Machines.of(bundle)
    for at, values in running(70, 300):
        machines.watch(Reading("acme", "pump-9", at, at, values))
    lonely = {"temperature": 90.0}
    scored = [
        machines.watch(Reading("acme", "pump-9", at, at, lonely))
        for at in range(START + 300_000, START + 303_000, 1000)
    ]
    assert scored[-1].score > 0.99
    assert [signal for signal, _ in scored[-1].shares] == ["temperature"]


def test_what_was_saved_goes_on_to_the_last_bit(bundle: Bundle) -> None:
    rows = [Reading("acme", "pump-9", at, at, values) for at, values in warm_for_its_load(80, 700, since_s=400)]
    whole, first, second = (Machines.of(bundle) for _ in range(3))
    expected = [whole.watch(reading) for reading in rows]
    for reading in rows[:405]:
        first.watch(reading)
    second.restore(first.snapshot())
    assert [second.watch(reading) for reading in rows[405:]] == expected[405:]
    assert second.snapshot() == whole.snapshot()


def test_a_signal_is_named_once_in_the_shares_of_a_score(bundle: Bundle) -> None:
    machines = Machines.of(bundle)
    for at, values in warm_for_its_load(50, 660, since_s=600):
        scored = machines.watch(Reading("acme", "pump-9", at, at, values))
        names = [signal for signal, _ in scored.shares]
        assert len(names) == len(set(names))


def test_states_and_a_relation_are_not_both_known(bundle: Bundle) -> None:
    running = StateRule("running", When(signal="current", at_least=1.0))
    with pytest.raises(ValueError, match="states or a relation"):
        replace(bundle, config=replace(bundle.config, states=StateRules((running,))))
