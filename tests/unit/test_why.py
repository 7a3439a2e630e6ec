"""Why there was no alert: the reason that decided, its threshold, and how far it was missed; from code and command."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from plantwatch.cli import calendar as calendar_command
from plantwatch.cli import why as why_command
from plantwatch.csvfile import InvalidFile
from plantwatch.hindsight import why_at
from plantwatch.incident import Kind
from plantwatch.machine import Machines, WatchConfig
from plantwatch.maintenance import Maintenance, MaintenanceWindow
from plantwatch.quality import PhysicalRange, QualityLimits
from plantwatch.states.rules import StateRule, StateRules, When
from plantwatch.telemetry import EpochMs, Reading, isoformat
from plantwatch.why import Reason, Standing, WhyNot, standing, why_not

START: EpochMs = 1_700_000_000_000
SECOND: EpochMs = 1000


class Pump:
    """One machine that lives a second a reading, and is asked about its last one."""

    def __init__(self, config: WatchConfig | None = None, *windows: MaintenanceWindow) -> None:
        self.machines = Machines(config, maintenance=Maintenance(windows))
        self._chance = random.Random(1)
        self.at = START

    def reading(self, **instead: float) -> Reading:
        self.at += SECOND
        signals = {"flow": round(self._chance.gauss(60.0, 0.5), 3), "pressure": round(self._chance.gauss(5.0, 0.05), 4)}
        return Reading("acme", "pump-1", self.at, self.at, {**signals, **instead})

    def live(self, seconds: int, **instead: float) -> None:
        for _ in range(seconds):
            self.machines.watch(self.reading(**instead))

    def why(self, reading: Reading) -> WhyNot:
        machine = self.machines.find("acme", "pump-1")
        before = standing(machine) if machine else Standing()
        schedule = machine.schedule if machine else None
        scored = self.machines.watch(reading)
        machine = self.machines.find("acme", "pump-1")
        assert machine is not None
        window = schedule.at(reading.observed_at) if schedule else None
        return why_not(scored, before, standing(machine), self.machines.config, window)


def grown(config: WatchConfig | None = None, *windows: MaintenanceWindow) -> Pump:
    pump = Pump(config, *windows)
    pump.live(1000)
    return pump


def test_an_ordinary_reading_is_told_beside_its_bands() -> None:
    pump = grown()
    answer = pump.why(pump.reading(flow=60.0, pressure=5.0))
    assert (answer.reason, answer.alert) == (Reason.ORDINARY, False)
    assert "flow 60 (" in answer.sentence
    assert "pressure 5 (" in answer.sentence


def test_evidence_says_how_far_the_threshold_is_and_how_many_readings_more() -> None:
    pump = grown()
    pump.live(2, pressure=9.0)
    answer = pump.why(pump.reading(pressure=9.0))
    because = answer.because[0]
    policy = pump.machines.config.process_policy
    assert because.reason is Reason.EVIDENCE
    assert because.reached is not None
    assert because.reached == pytest.approx(3 * (policy.reading_max - policy.allowance))
    assert because.missed_by == policy.open_at - because.reached
    more = math.ceil(because.missed_by / (policy.reading_max - policy.allowance))
    assert f"evidence {because.reached:.4g} of {policy.open_at:g}, {more} more reading" in answer.sentence
    pump.live(more - 1, pressure=9.0)
    opened = pump.why(pump.reading(pressure=9.0))
    assert (opened.alert, opened.reason) == (True, Reason.OPENED)


def test_an_open_incident_is_the_reason_for_no_second_alert() -> None:
    pump = grown()
    pump.live(20, pressure=9.0)
    assert pump.why(pump.reading(pressure=9.0)).reason is Reason.ALREADY_OPEN


def test_a_reading_that_is_a_little_strange_misses_the_allowance() -> None:
    pump = grown()
    highest = pump.machines.find("acme", "pump-1")
    assert highest is not None
    _, high = highest.signals["pressure"].detector.expected() or (0.0, 0.0)
    found = [pump.why(pump.reading(flow=60.0, pressure=high + step / 1000)) for step in range(0, 60, 4)]
    (answer, *_) = [one for one in found if one.reason is Reason.ALLOWANCE]
    because = answer.because[0]
    assert because.needed == 2.0
    assert because.missed_by is not None
    assert 0.0 < because.missed_by < 2.0
    assert "one in 100 count" in answer.sentence


def test_falling_evidence_is_told_beside_what_the_reading_itself_says() -> None:
    pump = grown()
    pump.live(3, pressure=9.0)
    answer = pump.why(pump.reading(flow=60.0, pressure=5.0))
    assert answer.reason in (Reason.EVIDENCE, Reason.ALLOWANCE)
    assert answer.because[0].missed_by is not None


def test_warming_up_says_for_how_long() -> None:
    pump = Pump()
    assert pump.why(pump.reading()).reason is Reason.WARMING_UP
    pump.live(99)
    because = pump.why(pump.reading(pressure=9.0)).because[0]
    assert because.reason is Reason.WARMING_UP
    assert because.missed_by is not None
    assert 100 < because.missed_by < 200


def test_a_late_reading_is_the_reason() -> None:
    pump = grown()
    late = pump.reading(pressure=9.0)._replace(observed_at=START + 5)
    assert pump.why(late).reason is Reason.LATE


def test_maintenance_is_named_with_its_end() -> None:
    pump = grown(None, MaintenanceWindow(START + 1000 * SECOND, START + 2000 * SECOND, "filter change"))
    answer = pump.why(pump.reading(pressure=9.0))
    assert answer.reason is Reason.MAINTENANCE
    assert "'filter change' until 2023-11-14T22:46:40" in answer.sentence


def test_a_state_that_is_not_watched_is_the_reason() -> None:
    states = StateRules((StateRule("off", When(signal="flow", below=1.0), watched=False),))
    pump = grown(WatchConfig(states=states))
    answer = pump.why(pump.reading(flow=0.0, pressure=0.0))
    assert answer.reason is Reason.STATE
    assert "'off'" in answer.sentence


def test_a_sensor_that_is_not_believed_and_one_that_may_be_stuck_are_named() -> None:
    limits = QualityLimits(ranges=(PhysicalRange("flow", 0.0, 100.0),))
    pump = grown(WatchConfig(quality=limits))
    broken = pump.why(pump.reading(flow=3276.7))
    assert (broken.reason, broken.because[0].signal) == (Reason.SENSOR_FAULT, "flow")
    assert [one.missed_by for one in broken.because if one.reason is Reason.EVIDENCE] == [pytest.approx(6.0)]
    pump.live(5, pressure=5.0)
    withheld = pump.why(pump.reading(pressure=5.0))
    assert (withheld.reason, withheld.because[0].signal) == (Reason.WITHHELD, "pressure")
    silent = pump.why(pump.reading()._replace(missing=("speed",)))
    assert (silent.reason, silent.because[0].signal) == (Reason.NO_VALUE, "speed")


def test_a_sensor_fault_that_opens_is_told_and_does_not_hide_as_a_missed_threshold() -> None:
    pump = grown()
    pump.live(25, pressure=5.0)
    answers = [pump.why(pump.reading(pressure=5.0)) for _ in range(3)]
    (opened,) = [answer for answer in answers if answer.alert]
    assert Kind.SENSOR_FAULT.replace("_", " ") in opened.sentence
    assert Reason.EVIDENCE not in {because.reason for because in opened.because}


def test_every_reading_of_a_life_has_an_answer_and_an_alert_is_one_exactly_where_it_opened() -> None:
    pump = Pump()
    for turn in range(2000):
        reading = pump.reading(**({"pressure": 9.0} if turn in range(1200, 1300) else {}))
        answer = pump.why(reading)
        assert answer.because
        assert answer.alert == (answer.reason is Reason.OPENED)
        assert all(because.missed_by is None or because.missed_by > 0.0 for because in answer.because)


# The command


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    why_command.register(app)
    calendar_command.register(app)
    return app


def recorded(path: Path, rows: int = 1200, fault_from: int = 1100, header: str = "time,flow,pressure") -> Path:
    chance = random.Random(1)
    lines = [header]
    for row in range(rows):
        pressure = 9.0 if row >= fault_from else round(chance.gauss(5.0, 0.05), 4)
        lines.append(f"{START // 1000 + row},{round(chance.gauss(60.0, 0.5), 3)},{pressure}")
    path.write_text("\n".join(lines) + "\n")
    return path


def run(app: typer.Typer, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["why", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_answers_for_the_reading_at_that_time(app: typer.Typer, tmp_path: Path) -> None:
    file = recorded(tmp_path / "pump-1.csv")
    code, text, _ = run(app, str(file), "--at", str(START // 1000 + 1102))
    assert code == 0
    assert text.startswith("pump-1 at 2023-11-14T22:31:42.000Z, score 1: no alert: evidence ")
    assert " more readings like this one would open an incident (missed by " in text
    policy = WatchConfig().process_policy
    needed = math.ceil(policy.open_at / (policy.reading_max - policy.allowance))
    opened = str(START // 1000 + 1100 + needed - 1)
    code, text, _ = run(app, str(file), "--at", opened, "--json")
    fields = json.loads(text)
    assert (code, fields["alert"], fields["because"][0]["reason"]) == (0, True, "opened")


def test_the_command_says_everything_once_and_that_nothing_was_read_at_that_time(
    app: typer.Typer, tmp_path: Path
) -> None:
    file = recorded(tmp_path / "pump-1.csv")
    at = START // 1000 + 1102
    _, exact, _ = run(app, str(file), "--at", str(at))
    sentences = [line.partition("no alert: ")[2] or line.split(maxsplit=1)[1] for line in exact.splitlines()]
    assert len(set(sentences)) == len(sentences)
    code, text, _ = run(app, str(file), "--at", str(at * 1000 + 300))
    assert code == 0
    assert text == f"no reading at 2023-11-14T22:31:42.300Z; this is the last one before it:\n{exact}"


def test_what_is_open_has_the_time_of_its_alert_and_of_its_first_sign(app: typer.Typer, tmp_path: Path) -> None:
    file = recorded(tmp_path / "pump-1.csv")
    policy = WatchConfig().process_policy
    needed = math.ceil(policy.open_at / (policy.reading_max - policy.allowance))
    opened = START + (1100 + needed - 1) * SECOND
    code, text, _ = run(app, str(file), "--at", str(opened // 1000 + 5))
    assert code == 0
    since, sign = isoformat(opened), isoformat(START + 1100 * SECOND)
    assert f"a process anomaly is open since {since}, first sign {sign}, and one fault is one alert" in text


def test_the_command_judges_by_the_states_and_the_calendar_it_is_given(app: typer.Typer, tmp_path: Path) -> None:
    file = recorded(tmp_path / "pump-1.csv")
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"states": {"rules": [
        {"name": "venting", "when": {"signal": "pressure", "at_least": 8}, "watched": False}]}}))  # fmt: skip
    code, text, _ = run(app, str(file), "--at", str(START // 1000 + 1150), "--config", str(config))
    assert code == 0
    assert "'venting'" in text
    calendar = tmp_path / "work.ics"
    calendar.write_text(
        "BEGIN:VCALENDAR\nBEGIN:VEVENT\nSUMMARY:valve test\nDTSTART:20231114T223000Z\nDURATION:PT1H\nEND:VEVENT\n"
        "END:VCALENDAR\n"
    )
    code, text, _ = run(app, str(file), "--at", str(START // 1000 + 1150), "--calendar", str(calendar))
    assert code == 0
    assert "maintenance 'valve test' until 2023-11-14T23:30" in text
    windows = tmp_path / "windows.json"
    result = CliRunner().invoke(app, ["calendar", str(calendar), "--from", "2023-11-01", "-o", str(windows)])
    assert (result.exit_code, result.stderr) == (0, "1 window\n")
    result = CliRunner().invoke(app, ["calendar", str(calendar), "--from", "2024-01-01"])
    assert result.exit_code == 0
    assert result.stderr.startswith("no windows from 2024-01-01 on: what the calendar holds is over")
    assert run(app, str(file), "--at", str(START // 1000 + 1150), "--calendar", str(windows))[1] == text


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["missing.csv", "--at", "1700000000"], "No such file"),
        (["pump.csv", "--at", "yesterday"], "no time; write 2026-03-06T12:30Z or epoch seconds"),
        (["pump.csv", "--at", "1600000000"], "begins at"),
        (["pump.csv", "--at", "1800000000"], "ends at"),
        (["bad.csv", "--at", "1700000050"], "bad.csv: line 3: not_a_number"),
        (["empty.csv", "--at", "1700000050"], "empty.csv"),
        (["pump.csv", "--at", "1700000050", "--config", "bad.csv"], "bad.csv"),
        (["pump.csv", "--at", "1700000050", "--config", "wrong.json"], "wrong.json: stats: no such setting"),
        (["pump.csv", "--at", "1700000050", "--bundle", "bad.csv"], "bad.csv"),
        (["pump.csv", "--at", "1700000050", "--bundle", "bad.csv", "--config", "wrong.json"], "give one of them"),
        (["pump.csv", "--at", "1700000050", "--calendar", "bad.csv"], "bad.csv: maintenance windows: no JSON"),
        (["pump.csv", "--at", "1700000050", "--calendar", "bad.ics"], "bad.ics: not_a_calendar"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    recorded(Path("pump.csv"), rows=100)
    Path("bad.csv").write_text("time,flow\n1700000000,1.0\n1700000001,much\n1700000002,1.0\n1700000003,2.0\n")
    Path("empty.csv").write_text("")
    Path("wrong.json").write_text('{"stats": {}}')
    Path("bad.ics").write_text("SUMMARY:x\n")
    code, text, error = run(app, *arguments)
    assert (code, text) == (2, "")
    assert problem in error
    assert error.count("\n") == 1


def test_a_file_of_a_header_only_has_no_reading(tmp_path: Path) -> None:
    file = recorded(tmp_path / "pump.csv", rows=0)
    with pytest.raises(InvalidFile, match="no rows"):
        why_at(file, START, Machines())
