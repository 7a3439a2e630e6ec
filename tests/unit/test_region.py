"""How a region is reached, as boto3 understands it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import boto3
import pytest

from localcloud.region import (
    DR,
    HOST,
    PRIMARY,
    REPOSITORY,
    emulator_python,
    emulator_spec,
    endpoint_url,
    environment,
    profiles_environment,
    write_aws_config,
)


def test_each_profile_reaches_its_own_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "aws" / "config"
    write_aws_config(config)
    # As in a process of its own: nothing but what a product process is given.
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in profiles_environment(config).items():
        monkeypatch.setenv(name, value)

    for region in (PRIMARY, DR):
        client = boto3.Session(profile_name=region.role).client("kinesis")
        assert (client.meta.endpoint_url, client.meta.region_name) == (endpoint_url(region), region.name)


def test_a_product_process_sees_its_region_and_nothing_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(DR).items():
        monkeypatch.setenv(name, value)
    session = boto3.Session()

    assert session.client("dynamodb").meta.endpoint_url == "http://127.0.0.1:14567"
    assert session.region_name == "us-west-2"
    assert session.available_profiles == []


def test_the_regions_share_no_port_and_listen_on_this_machine_only(tmp_path: Path) -> None:
    specs = [emulator_spec(region, tmp_path) for region in (PRIMARY, DR)]

    assert len({port for spec in specs for port in spec.ports}) == 4
    assert {spec.env["BIND_HOST"] for spec in specs} == {HOST}
    assert specs[0].folders[0].parent == tmp_path / "primary"
    assert specs[1].folders[0].parent == tmp_path / "dr"


def test_a_region_keeps_its_state_under_its_role(tmp_path: Path) -> None:
    moved = replace(PRIMARY, http_port=1, mqtt_port=2)

    assert emulator_spec(moved, tmp_path).env["STATE_DIR"] == emulator_spec(PRIMARY, tmp_path).env["STATE_DIR"]


def test_the_emulator_runs_in_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLANTWATCH_EMULATOR_PYTHON", raising=False)
    assert emulator_python() == REPOSITORY / ".venv-emulator" / "bin" / "python"

    monkeypatch.setenv("PLANTWATCH_EMULATOR_PYTHON", "/opt/emulator/bin/python")
    assert emulator_python() == Path("/opt/emulator/bin/python")
