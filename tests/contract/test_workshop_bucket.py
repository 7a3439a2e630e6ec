"""The workshop's commands on buckets of an emulated region: train from the lake, keep versions in the model bucket."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from deploy.topology import Tenant, names
from localcloud.region import endpoint_url
from models.cli import registry, train
from plantwatch.aws.lake import S3Lake
from plantwatch.bundle.container import load
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Reading, isoformat
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component

APP = typer.Typer()
for command in (registry, train):
    command.register(APP)
HERE = names(Tenant("acme", "000000000000", "us-east-1", "us-west-2"), "us-east-1")
BEGINS: EpochMs = 1_772_600_000_000
READINGS = 1_700


def run(*arguments: object) -> Result:
    return CliRunner().invoke(APP, list(map(str, arguments)), env={"COLUMNS": "400"})


def good(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def region(patched: RunningRegion, monkeypatch: pytest.MonkeyPatch) -> RunningRegion:
    """The environment in which a data scientist would work."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint_url(patched.region))
    for bucket in (HERE.lake_bucket, HERE.model_bucket):
        patched.client("s3").create_bucket(Bucket=bucket)
    return patched


def scored(device: str, turn: int, chance: random.Random) -> ScoredReading:
    at = BEGINS + turn * 60_000
    signals = {"flow": chance.gauss(20, 1), "level": chance.gauss(5, 0.2)}
    return ScoredReading(Reading("acme", device, at, at, signals, gateway="gw", epoch=1, sequence=turn), 0.0)


def test_a_bundle_goes_from_the_lake_to_production(region: RunningRegion, tmp_path: Path) -> None:
    lake = S3Lake(region.client("s3"), HERE.lake_bucket, region="us-east-1")
    for device in ("fan-1", "fan-2"):
        chance = random.Random(device)
        readings = [scored(device, turn, chance) for turn in range(READINGS)]
        for start in range(0, READINGS, 500):
            lake.append(readings[start : start + 500], position=f"{device}-{start:06d}", stored_at=BEGINS)
    file = tmp_path / "fan.bundle"
    lake_place, models = f"s3://{HERE.lake_bucket}", f"s3://{HERE.model_bucket}"
    good("train", "--from-lake", lake_place, "--tenant", "acme", "--machine-type", "fan", "-o", file)
    bundle = load(file)
    assert bundle.training
    assert (bundle.training.rows, bundle.training.machines) == (2 * READINGS, 2)
    place = ("--registry", models, "--tenant", "acme")
    mine = (*place, "--machine-type", "fan", "--by", "mk")
    good("models", "push", file, *place, "--by", "mk")
    for stage in ("shadow", "production"):
        assert f"{stage}: {bundle.digest}" in good("models", "promote", stage, *mine)
    good("models", "pull", "production", *mine[:-2], "-o", tmp_path / "pulled.bundle")
    assert (tmp_path / "pulled.bundle").read_bytes() == file.read_bytes()
    nothing = run("train", "--from-lake", lake_place, "--tenant", "acme", "--until", isoformat(BEGINS - 1), "-o", file)
    assert (nothing.exit_code, "no readings of tenant 'acme'" in nothing.stderr) == (2, True)


def test_a_bucket_that_is_not_there_and_a_region_that_is_away_are_one_line_each(
    region: RunningRegion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = run("models", "list", "--registry", "s3://no-such-bucket", "--tenant", "acme")
    assert missing.exit_code == 2
    assert "NoSuchBucket" in missing.stderr
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("plantwatch.aws.clients.ATTEMPTS_MAX", 1)
    away = run("models", "list", "--registry", f"s3://{HERE.model_bucket}", "--tenant", "acme")
    assert away.exit_code == 1
    assert [len(result.stderr.strip().splitlines()) for result in (missing, away)] == [1, 1]
