"""What SageMaker gives our container, and a training job in it."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from models.history import csv_series
from models.intervals import Interval
from models.labels import Label, LabelVerdict
from models.serving import training
from models.serving.__main__ import main
from models.serving.container import (
    CannotServe,
    ContainerSettings,
    Folders,
    ServeProblem,
    load_bundle,
    read_settings,
)
from models.serving.privileges import CannotDrop, become
from models.serving.training import TrainProblem, train
from models.training import Wish
from models.training import train as train_bundle
from plantwatch.bundle.container import load, save, write
from plantwatch.bundle.model import Bundle
from plantwatch.settings import InvalidSettings
from tests.bundle_support import AT, bundle

# Two thirds of them are learnt from: more than the 1,024 that a detector needs.
ROWS = 1_600


def recording(path: Path, *, seed: int = 1, rows: int = ROWS) -> None:
    random_ = random.Random(seed)
    lines = [f"{AT // 1000 + 60 * row},{random_.gauss(10, 0.5):.3f}" for row in range(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["time,flow", *lines]) + "\n")


def job(root: Path, hyperparameters: Any = None) -> Folders:
    folders = Folders(root)
    if hyperparameters is not None:
        folders.hyperparameters.parent.mkdir(parents=True)
        text = hyperparameters if isinstance(hyperparameters, str) else json.dumps(hyperparameters)
        folders.hyperparameters.write_text(text)
    return folders


def failure(root: Path, reason: TrainProblem) -> str:
    """What DescribeTrainingJob would say of a job that must fail for this reason."""
    assert train(ContainerSettings(ml_root=root)) == 1
    text = Folders(root).failure.read_text()
    assert text.startswith(f"{reason}: ")
    assert "\n" not in text
    assert list(root.glob("model/*")) == []
    return text


def test_settings_come_from_the_container_s_environment() -> None:
    container, sagemaker = read_settings({})
    assert (container.ml_root, container.host) == (Path("/opt/ml"), "127.0.0.1")
    assert (sagemaker.bind_to_port, sagemaker.batch, sagemaker.payload_bytes_max) == (8080, False, 6 * 2**20)
    _, sagemaker = read_settings(
        {"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0", "SAGEMAKER_BIND_TO_PORT": "9000"}
    )
    assert (sagemaker.bind_to_port, sagemaker.batch, sagemaker.payload_bytes_max) == (9000, True, 100 * 2**20)


@pytest.mark.parametrize(
    "environment",
    [
        {"SAGEMAKER_MAX_PAYLOAD_IN_MB": "101"},
        {"SAGEMAKER_BIND_TO_PORT": "x"},
        {"PLANTWATCH_THREADS": "0"},
        {"PLANTWATCH_RUN_AS": "-1"},
    ],
)
def test_a_wrong_setting_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidSettings, match=r"(?i)max_payload_in_mb|bind_to_port|threads|run_as"):
        read_settings(environment)


def test_the_only_bundle_of_a_model_is_loaded(tmp_path: Path) -> None:
    save(bundle(), tmp_path / "pumps.bundle")
    assert load_bundle(tmp_path).digest == bundle().digest


def test_a_model_that_cannot_be_served_has_a_reason(tmp_path: Path) -> None:
    def reason() -> ServeProblem:
        with pytest.raises(CannotServe) as refused:
            load_bundle(tmp_path)
        assert "\n" not in str(refused.value)
        return refused.value.reason

    assert reason() is ServeProblem.NO_MODEL
    (tmp_path / "pumps.bundle").mkdir()
    assert reason() is ServeProblem.UNREADABLE_MODEL
    (tmp_path / "pumps.bundle").rmdir()
    save(bundle(), tmp_path / "pumps.bundle")
    damaged = bytearray((tmp_path / "pumps.bundle").read_bytes())
    damaged[-1] ^= 3
    (tmp_path / "pumps.bundle").write_bytes(damaged)
    assert reason() is ServeProblem.INVALID_BUNDLE
    save(bundle(), tmp_path / "other.bundle")
    assert reason() is ServeProblem.SEVERAL_MODELS


def test_a_training_job_leaves_a_bundle_that_can_be_served(tmp_path: Path) -> None:
    folders = job(tmp_path, {"name": "pumps", "machine_type": "pump", "sagemaker_region": "x"})
    recording(folders.data / "train" / "a.csv", seed=1)
    recording(folders.data / "more" / "hall-2" / "b.csv", seed=2)
    assert train(ContainerSettings(ml_root=tmp_path)) == 0
    learnt = load_bundle(folders.model)
    assert (learnt.name, learnt.machine_type, list(learnt.priors)) == ("pumps", "pump", ["flow"])
    assert learnt.training is not None
    assert learnt.training.machines == 2
    assert not folders.failure.exists()


def test_the_bundle_is_the_one_that_the_command_would_have_made(tmp_path: Path) -> None:
    folders = job(tmp_path, {"name": "pumps", "machine_type": "pump", "tenant": "acme", "alerts_per_day": "0.5"})
    file = folders.data / "train" / "a.csv"
    recording(file)
    assert train(ContainerSettings(ml_root=tmp_path)) == 0
    wish = Wish("pumps", "pump", alerts_per_day=0.5)
    expected = train_bundle(csv_series([file], tenant="acme"), wish).bundle
    assert (folders.model / "pumps.bundle").read_bytes() == write(expected)


def test_operators_labels_come_in_a_channel_of_their_own(tmp_path: Path) -> None:
    folders = job(tmp_path)
    recording(folders.data / "train" / "a.csv")
    labels = folders.data / "labels" / "labels.jsonl"
    labels.parent.mkdir()
    labels.write_text('{"device": "a"}\n')
    assert "labels/labels.jsonl: line 1: " in failure(tmp_path, TrainProblem.UNTRAINABLE)
    span = Interval(AT, AT + 1_000 * 60_000)
    add = Label("a", LabelVerdict.TRUE, "mk", AT, span)
    labels.write_text(json.dumps(add.as_json()) + "\n")
    # What was a fault is not learnt from, and then there is too little.
    assert "normal readings to learn from" in failure(tmp_path, TrainProblem.UNTRAINABLE)
    (labels.parent / "more.jsonl").write_text("")
    assert "2 files of labels" in failure(tmp_path, TrainProblem.UNTRAINABLE)


def test_the_watch_s_parameters_are_a_hyperparameter(tmp_path: Path) -> None:
    folders = job(tmp_path, {"config": '{"accept_after_s": 7200}'})
    recording(folders.data / "train" / "a.csv")
    assert train(ContainerSettings(ml_root=tmp_path)) == 0
    assert load(folders.model / "plantwatch.bundle").config.accept_after_s == 7200


@pytest.mark.parametrize(
    ("hyperparameters", "complaint"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ([1], "is no object"),
        ({"nmae": "x"}, "nmae: no such setting"),
        ({"name": "a b"}, "name 'a b'"),
        ({"config": "[]"}, "config: an object is wanted"),
        ({"config": '{"accept_after_s": -1}'}, "accept_after_s"),
        ({"detector": "oracle"}, "there is no 'oracle'"),
        ({"alerts_per_day": "-1"}, "is no rate"),
    ],
)
def test_wrong_hyperparameters_fail_the_job_by_name(tmp_path: Path, hyperparameters: Any, complaint: str) -> None:
    recording(job(tmp_path, hyperparameters).data / "train" / "a.csv")
    assert complaint in failure(tmp_path, TrainProblem.HYPERPARAMETERS)


def test_a_job_without_data_fails(tmp_path: Path) -> None:
    failure(tmp_path, TrainProblem.NO_DATA)


def test_data_too_short_fail_the_job_and_name_the_file(tmp_path: Path) -> None:
    recording(Folders(tmp_path).data / "train" / "a.csv", rows=100)
    assert "untrainable: a.csv: 66 normal readings" in failure(tmp_path, TrainProblem.UNTRAINABLE)


def test_a_disk_that_refuses_fails_the_job(tmp_path: Path) -> None:
    recording(Folders(tmp_path).data / "train" / "a.csv")
    (tmp_path / "model").write_text("a file where a folder should be")
    assert train(ContainerSettings(ml_root=tmp_path)) == 1
    assert Folders(tmp_path).failure.read_text().startswith("storage: ")


def test_a_fault_of_ours_reaches_the_failure_and_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Bundle:
        raise AssertionError("a bug")

    recording(Folders(tmp_path).data / "train" / "a.csv")
    monkeypatch.setattr(training, "train_bundle", broken)
    with pytest.raises(AssertionError):
        train(ContainerSettings(ml_root=tmp_path))
    assert Folders(tmp_path).failure.read_text() == "internal: AssertionError: a bug"


def test_nobody_becomes_somebody_else_but_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    become(0)
    become(1000)
    with pytest.raises(CannotDrop, match="run_as is 1001"):
        become(1001)


def test_only_serve_and_train_are_words_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    assert main([]) == main(["serve", "train"]) == main(["bash"]) == 2
    monkeypatch.setenv("PLANTWATCH_ML_ROOT", str(tmp_path))
    assert main(["train"]) == 1
    monkeypatch.setenv("PLANTWATCH_THREADS", "many")
    assert main(["train"]) == 2
