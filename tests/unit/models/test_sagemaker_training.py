"""Training jobs for SageMaker, with its library's place taken by one that records.

The double's classes take exactly the fields that those of sagemaker 3.27 take (sagemaker-train 1.27, sagemaker-core
2.27), read from the wheels' source, and refuse any other, as those do.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.sagemaker import validation
from models.sagemaker_training import (
    InvalidJob,
    TrainingJob,
    TrainingUnavailable,
    request,
    sagemaker_library,
    submit,
    submit_plainly,
)
from models.serving.training import Hyperparameters
from plantwatch.settings import load

FIELDS = {
    "ModelTrainer": (
        "training_mode sagemaker_session role base_job_name input_s3_key_prefix source_code distributed compute"
        " networking stopping_condition training_image training_image_config algorithm_name output_data_config"
        " input_data_config checkpoint_config training_input_mode environment hyperparameters tags"
        " local_container_root model_package_config"
    ),
    "Compute": (
        "instance_type instance_count volume_size_in_gb volume_kms_key_id keep_alive_period_in_seconds"
        " instance_groups training_plan_arn instance_preferences enable_managed_spot_training"
    ),
    "InputData": "channel_name data_source content_type",
    "Networking": "security_group_ids subnets enable_network_isolation enable_inter_container_traffic_encryption",
    "OutputDataConfig": "s3_output_path kms_key_id compression_type",
    "StoppingCondition": "max_runtime_in_seconds max_wait_time_in_seconds max_pending_time_in_seconds",
}


class Recorded(SimpleNamespace):
    """One object of the library: its class's name and the fields that it was given."""


class RecordingLibrary(SimpleNamespace):
    """Stands for `sagemaker`; keeps the one trainer that was made and what `train` was called with."""

    def __init__(self) -> None:
        super().__init__(**{name: self._maker(name) for name in FIELDS})
        self.trainer: Any = None
        self.called: dict[str, Any] = {}

    def _maker(self, name: str) -> Any:
        def make(**fields: Any) -> Recorded:
            unknown = set(fields) - set(FIELDS[name].split())
            assert not unknown, f"{name} has no {unknown}"
            made = Recorded(**fields)
            if name == "ModelTrainer":
                self.trainer = made
                made.train = self._train
            return made

        return make

    def _train(
        self, input_data_config: Any = None, wait: bool = True, logs: bool = True, dry_run: bool = False
    ) -> None:
        self.called = {"channels": input_data_config, "wait": wait, "logs": logs, "dry_run": dry_run}
        self.trainer._latest_training_job = SimpleNamespace(training_job_name=f"{self.trainer.base_job_name}-1")


def job(**changes: Any) -> TrainingJob:
    wanted: dict[str, Any] = {
        "image": "registry.invalid/plantwatch-sagemaker:0.1.0",
        "role": "arn:aws:iam::000000000000:role/sagemaker",
        "data": {"train": "s3://lake/recordings/", "labels": "s3://lake/labels/labels.jsonl"},
        "output": "s3://models/trained",
        "hyperparameters": {"name": "pumps", "machine_type": "pump", "alerts_per_day": "0.2"},
    }
    return TrainingJob(**{**wanted, **changes})


def test_a_job_s_request_is_one_that_sagemaker_takes() -> None:
    validation.check("CreateTrainingJob", request(job(), "pumps-1"))


def test_its_hyperparameters_are_those_of_our_container() -> None:
    assert load(Hyperparameters, request(job(), "pumps-1")["HyperParameters"]).alerts_per_day == 0.2


def test_both_ways_ask_for_the_same_job() -> None:
    library = RecordingLibrary()
    assert submit(job(), library=library) == "plantwatch-1"
    trainer, plain = library.trainer, request(job(), "plantwatch-1")
    assert plain["AlgorithmSpecification"] == {
        "TrainingImage": trainer.training_image, "TrainingInputMode": trainer.training_input_mode,
    }  # fmt: skip
    assert plain["RoleArn"] == trainer.role
    assert plain["HyperParameters"] == trainer.hyperparameters
    assert plain["OutputDataConfig"] == {
        "S3OutputPath": trainer.output_data_config.s3_output_path,
        "CompressionType": trainer.output_data_config.compression_type,
    }
    assert plain["ResourceConfig"] == {
        "InstanceType": trainer.compute.instance_type,
        "InstanceCount": trainer.compute.instance_count,
        "VolumeSizeInGB": trainer.compute.volume_size_in_gb,
    }
    assert plain["StoppingCondition"] == {"MaxRuntimeInSeconds": trainer.stopping_condition.max_runtime_in_seconds}
    assert plain["EnableNetworkIsolation"] is trainer.networking.enable_network_isolation
    assert [
        (channel["ChannelName"], channel["DataSource"]["S3DataSource"]["S3Uri"], channel["ContentType"])
        for channel in plain["InputDataConfig"]
    ] == [(data.channel_name, data.data_source, data.content_type) for data in library.called["channels"]]


@pytest.mark.parametrize("wait", [True, False])
def test_whoever_waits_sees_the_log(wait: bool) -> None:
    library = RecordingLibrary()
    submit(job(), wait=wait, library=library)
    assert (library.called["wait"], library.called["logs"], library.called["dry_run"]) == (wait, wait, False)


def test_a_session_of_the_caller_s_is_used() -> None:
    library, session = RecordingLibrary(), object()
    submit(job(), library=library, session=session)
    assert library.trainer.sagemaker_session is session


def test_without_the_library_a_client_of_boto3_is_enough() -> None:
    asked: list[dict[str, Any]] = []

    class Client:
        def create_training_job(self, **parameters: Any) -> dict[str, str]:
            asked.append(parameters)
            return {"TrainingJobArn": "arn:aws:sagemaker:us-east-1:000000000000:training-job/pumps-1"}

    assert submit_plainly(job(), "pumps-1", Client()).endswith("training-job/pumps-1")
    assert asked == [request(job(), "pumps-1")]


def test_a_library_that_is_not_there_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sagemaker", None)
    with pytest.raises(TrainingUnavailable, match=r"install sagemaker >= 3 \(the extra `training`\)"):
        sagemaker_library()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"image": ""}, "image is missing"),
        ({"data": {}}, "data is missing"),
        ({"role": "sagemaker"}, "role 'sagemaker' is no ARN"),
        ({"output": "models/trained"}, "output: 'models/trained' is no s3://"),
        ({"data": {"train": "/data"}}, "train: '/data' is no s3://"),
        ({"data": {"a b": "s3://lake/x"}}, "channel 'a b' is no name"),
        ({"hyperparameters": {"alerts_per_day": 0.2}}, "hyperparameter alerts_per_day is 0.2, not a text"),
        ({"base_name": "x" * 49}, "base_name"),
        ({"runtime_s": 0}, "runtime_s is 0"),
        ({"volume_gb": 0}, "volume_gb is 0"),
    ],
)
def test_a_job_that_sagemaker_would_refuse_late_is_refused_at_once(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidJob, match=complaint):
        job(**changes)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidJob, match=r"role.*; output.*; runtime_s"):
        job(role="x", output="y", runtime_s=0)
