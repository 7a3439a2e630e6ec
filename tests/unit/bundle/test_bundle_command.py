"""`plantwatch bundle`: what a person sees, one line for what is wrong, and no file that is half written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from plantwatch.bundle.container import load, save
from plantwatch.bundle.model import Bundle, Calibration
from plantwatch.cli.bundle import register
from plantwatch.watch_config import WatchConfig
from tests.unit.bundle.fleets import a_bundle, record


def run(*arguments: object) -> Any:
    app = typer.Typer()
    register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["bundle", *map(str, arguments)])


def refused(*arguments: object) -> str:
    """The one line that says why; exit code 2."""
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    return str(line)


@pytest.fixture
def pumps(tmp_path: Path) -> Path:
    save(a_bundle(), tmp_path / "pumps.bundle")
    return tmp_path / "pumps.bundle"


def test_make_verify_inspect(tmp_path: Path) -> None:
    files = [record(tmp_path / f"pump-{seed}.csv", seed, 1500) for seed in range(3)]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"accept_after_s": 3600, "process_policy": {"open_at": 30}}))
    target = tmp_path / "new.bundle"
    made = run("make", *files, "--name", "pumps", "--machine-type", "pump", "--config", config, "-o", target)
    assert made.exit_code == 0
    bundle = load(target)
    assert (bundle.name, bundle.machine_type) == ("pumps", "pump")
    assert bundle.config.accept_after_s == 3600.0
    assert bundle.config.process_policy.open_at == 30.0
    assert f"digest {bundle.digest}, priors for 2 signals from 4,500 rows of 3 machines" in made.stdout

    verified = run("verify", target, "--digest", bundle.digest)
    assert (verified.exit_code, verified.stdout) == (0, made.stdout)
    shown = run("inspect", target).stdout
    assert all(word in shown for word in ("pump-0.csv, pump-1.csv", bundle.digest, "prior pressure", "machine-days"))
    assert json.loads(run("inspect", target, "--json").stdout)["digest"] == bundle.digest
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json", "new.bundle", "pump-0.csv", "pump-1.csv", "pump-2.csv",
    ]  # fmt: skip


def test_no_alert_in_a_few_days_is_no_promise(tmp_path: Path) -> None:
    seen = Calibration(1350, 4.7, 0, ((0.5, 0.0), (1.0, 0.2)))
    save(Bundle("pumps", calibration=seen, expected_alerts_per_day=0.0), tmp_path / "p.bundle")
    assert "none in 4.7 machine-days: fewer than 0.64 a day (95 %)" in run("inspect", tmp_path / "p.bundle").stdout
    save(Bundle("pumps", calibration=seen, expected_alerts_per_day=0.25), tmp_path / "p.bundle")
    assert "0.25 alerts a day and machine" in run("inspect", tmp_path / "p.bundle").stdout


def test_without_a_name_it_has_that_of_its_file(tmp_path: Path) -> None:
    assert run("make", record(tmp_path / "a.csv", 1, 1500), "-o", tmp_path / "valves.bundle").exit_code == 0
    assert load(tmp_path / "valves.bundle").name == "valves"


def test_a_difference_is_an_exit_code(pumps: Path, tmp_path: Path) -> None:
    save(Bundle("a", config=WatchConfig(accept_after_s=60.0)), tmp_path / "a.bundle")
    save(Bundle("a"), tmp_path / "b.bundle")
    same = run("diff", pumps, pumps)
    assert (same.exit_code, same.stdout) == (0, "")
    other = run("diff", tmp_path / "a.bundle", tmp_path / "b.bundle")
    assert other.exit_code == 1
    assert "config.accept_after_s: 60.0 -> 21600.0" in other.stdout.splitlines()


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_bundle_that_was_tampered_with_is_refused_by_name(pumps: Path, command: str) -> None:
    data = bytearray(pumps.read_bytes())
    data[-1] ^= 3
    pumps.write_bytes(data)
    assert "pumps.bundle: digest: pressure/deviation-slow is not" in refused(command, pumps)
    pumps.write_bytes(data[:-5])
    assert "pumps.bundle: size: " in refused(command, pumps)
    pumps.write_text("time,t\n1,2\n")
    assert "pumps.bundle: not_a_bundle: " in refused(command, pumps)
    pumps.unlink()
    assert "pumps.bundle: No such file" in refused(command, pumps)


def test_another_digest_than_the_one_asked_for_is_refused(pumps: Path) -> None:
    assert f"it is {a_bundle().digest}, not 00ff" in refused("verify", pumps, "--digest", "00ff")


def test_what_cannot_be_made_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    good, short = record(tmp_path / "good.csv", 1, 1500), record(tmp_path / "short.csv", 2, 100)
    config, target = tmp_path / "config.json", tmp_path / "x.bundle"
    assert "short.csv: 100 rows; at least 1024" in refused("make", good, short, "-o", target)
    assert "gone.csv: No such file" in refused("make", good, tmp_path / "gone.csv", "-o", target)
    assert "there is no folder" in refused("make", good, "-o", tmp_path / "gone" / "x.bundle")
    assert "would overwrite" in refused("make", good, "-o", good)
    assert "name 'a b'" in refused("make", good, "--name", "a b", "-o", target)
    for text, problem in (
        ("{", "config.json: "),
        ("[]", "config.json: an object is wanted"),
        ('{"colour": 1}', "config.json: colour: no such setting"),
        ('{"accept_after_s": -1}', "config.json: accept_after_s is -1"),
    ):
        config.write_text(text)
        assert problem in refused("make", good, "--config", config, "-o", target)
    assert "gone.json: No such file" in refused("make", good, "--config", tmp_path / "gone.json", "-o", target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "good.csv", "short.csv"]
