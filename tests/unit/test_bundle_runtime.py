"""A runtime watches by the bundle that it is told, and refuses one that is none before it starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_component import settings as edge
from kcl_consumer.settings import from_environment
from plantwatch.bundle.container import save
from plantwatch.bundle.model import Bundle
from plantwatch.bundle.runtime import problems, watching
from plantwatch.maintenance import MaintenanceWindow, windows_text
from plantwatch.policy import AlertPolicy
from plantwatch.settings import InvalidSettings
from plantwatch.telemetry import Reading
from plantwatch.watch_config import WatchConfig

AT = 1_700_000_000_000
CONSUMER = {
    f"PLANTWATCH_{name}": "x"
    for name in ("TENANT", "REGION", "STREAM_ARN", "APPLICATION", "RESULTS_TABLE", "ALERTS_TOPIC_ARN", "LAKE_BUCKET",
                 "ACTIVE_REGION_PARAMETER", "WORK_FOLDER", "WORKER_ID")
}  # fmt: skip


@pytest.fixture
def bundle_path(tmp_path: Path) -> str:
    """A bundle that judges otherwise than the default configuration."""
    path = tmp_path / "pumps.bundle"
    config = WatchConfig(process_policy=replace(AlertPolicy(), open_at=30.0))
    save(Bundle(name="pumps", machine_type="pump", config=config, created_at=1_700_000_000_000), path)
    return str(path)


def test_without_a_bundle_the_default_configuration_judges() -> None:
    assert watching("").bundle == WatchConfig().digest


def test_machines_are_judged_by_the_bundle_that_is_named(bundle_path: str) -> None:
    machines = watching(bundle_path)
    assert machines.config.process_policy.open_at == 30.0
    assert machines.bundle != WatchConfig().digest


def test_both_runtimes_take_a_good_bundle(bundle_path: str) -> None:
    gateway = edge.load({"tenant": "acme", "bundle_path": bundle_path}, thing="gateway-1")
    consumer = from_environment(CONSUMER | {"PLANTWATCH_BUNDLE_PATH": bundle_path})
    assert gateway.bundle_path == consumer.bundle_path == bundle_path


def test_a_damaged_bundle_is_a_problem_of_the_settings_of_both(bundle_path: str) -> None:
    path = Path(bundle_path)
    path.write_bytes(path.read_bytes().replace(b"pumps", b"PUMPS", 1))
    (problem,) = problems(bundle_path)
    assert problem.startswith("bundle_path: ")
    assert "digest" in problem
    with pytest.raises(InvalidSettings, match="bundle_path"):
        edge.load({"tenant": "acme", "bundle_path": bundle_path}, thing="gateway-1")
    with pytest.raises(InvalidSettings, match="bundle_path"):
        from_environment(CONSUMER | {"PLANTWATCH_BUNDLE_PATH": bundle_path})


def test_a_bundle_that_is_not_there_is_a_problem() -> None:
    (problem,) = problems("/nowhere/pumps.bundle")
    assert "No such file" in problem


def test_maintenance_windows_are_watched_by_and_bad_ones_are_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "windows.json"
    path.write_text(windows_text([MaintenanceWindow(AT - 500, AT + 500, devices="pump-*")]))
    machines = watching("", str(path))
    for device in ("pump-1", "fan-1"):
        machines.watch(Reading("acme", device, AT, AT, {"flow": 1.0}))
    pump, fan = machines.find("acme", "pump-1"), machines.find("acme", "fan-1")
    assert pump is not None
    assert pump.schedule is not None
    assert pump.schedule.at(AT) is not None
    assert fan is not None
    assert fan.schedule is None
    path.write_text('[{"begins_at": 5}]')
    (problem,) = problems("", str(path))
    assert problem.startswith("maintenance_path: ")
    with pytest.raises(InvalidSettings, match="maintenance_path"):
        from_environment(CONSUMER | {"PLANTWATCH_MAINTENANCE_PATH": str(path)})
