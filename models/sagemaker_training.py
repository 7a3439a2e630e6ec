"""`plantwatch train` as a training job on SageMaker: one description, two ways to submit it.

`submit` uses SageMaker's own library (`ModelTrainer`; the extra `training`, a gigabyte, imported only when asked for),
`submit_plainly` one call of boto3. Both ask for the same job, and its container is our own (`models.serving`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final, Protocol

# Three passes over the data at 5 us a value: an hour is 200 million values. Whoever has more says so.
RUNTIME_S: Final = 3_600
# CreateTrainingJob takes a runtime of at most 28 days.
RUNTIME_S_MAX: Final = 28 * 86_400
# Data are downloaded before they are read.
VOLUME_GB: Final = 30
_S3: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_NAME: Final = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
# The library adds a dash and a time of 14 digits, and cuts what is then longer than 63.
_BASE_NAME_CHARS_MAX: Final = 48
_CSV: Final = "text/csv"


class InvalidJob(ValueError):
    """The job's description cannot be submitted; the message names every problem."""


class TrainingUnavailable(Exception):
    """SageMaker's library is not installed."""


@dataclass(frozen=True)
class TrainingJob:
    """What to train, on what, as whom. InvalidJob for what SageMaker would refuse only after minutes.

    `data` names channels and the S3 prefixes of their files: CSV, one file a machine, and `labels` where there are any.
    `hyperparameters` are those of `models.serving.training`. Training is one process, so it is one instance.
    """

    image: str
    role: str
    data: Mapping[str, str]
    output: str
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    base_name: str = "plantwatch"
    instance_type: str = "ml.m5.large"
    volume_gb: int = VOLUME_GB
    runtime_s: int = RUNTIME_S

    def __post_init__(self) -> None:
        problems = [
            *(f"{name} is missing" for name in ("image", "data") if not getattr(self, name)),
            *([] if self.role.startswith("arn:") else [f"role {self.role!r} is no ARN"]),
            *(
                f"{what}: {uri!r} is no s3://BUCKET/PREFIX"
                for what, uri in {**self.data, "output": self.output}.items()
                if not _S3.fullmatch(uri)
            ),
            *(f"channel {name!r} is no name" for name in self.data if not _NAME.fullmatch(name)),
            *(
                f"hyperparameter {name} is {value!r}, not a text"
                for name, value in self.hyperparameters.items()
                if not isinstance(value, str)
            ),
        ]
        if not _NAME.fullmatch(self.base_name) or len(self.base_name) > _BASE_NAME_CHARS_MAX:
            problems.append(f"base_name {self.base_name!r}: letters, digits and -, at most {_BASE_NAME_CHARS_MAX}")
        if not 1 <= self.runtime_s <= RUNTIME_S_MAX:
            problems.append(f"runtime_s is {self.runtime_s}; it must be from 1 to {RUNTIME_S_MAX}")
        if self.volume_gb < 1:
            problems.append(f"volume_gb is {self.volume_gb}; it must be at least 1")
        if problems:
            raise InvalidJob("; ".join(problems))


class Library(Protocol):
    """What we use of `sagemaker`, version 3."""

    ModelTrainer: Any
    Compute: Any
    InputData: Any
    Networking: Any
    OutputDataConfig: Any
    StoppingCondition: Any


def submit(job: TrainingJob, *, wait: bool = True, library: Library | None = None, session: Any = None) -> str:
    """Submit by ModelTrainer; the job's name. With `wait`, shows its log and raises where it fails.

    `session` is the library's own; without it, that of the environment's region and credentials.
    """
    used = library or sagemaker_library()
    trainer = used.ModelTrainer(
        sagemaker_session=session,
        training_image=job.image,
        role=job.role,
        base_job_name=job.base_name,
        compute=used.Compute(instance_type=job.instance_type, instance_count=1, volume_size_in_gb=job.volume_gb),
        # The container reads its channels and writes its model; it has nobody to call.
        networking=used.Networking(enable_network_isolation=True),
        stopping_condition=used.StoppingCondition(max_runtime_in_seconds=job.runtime_s),
        output_data_config=used.OutputDataConfig(s3_output_path=job.output, compression_type="GZIP"),
        training_input_mode="File",
        hyperparameters=dict(job.hyperparameters),
    )
    channels = [used.InputData(channel_name=name, data_source=uri, content_type=_CSV) for name, uri in job.data.items()]
    trainer.train(input_data_config=channels, wait=wait, logs=wait)
    return str(trainer._latest_training_job.training_job_name)


def submit_plainly(job: TrainingJob, name: str, client: Any) -> str:
    """Submit as job `name` by boto3's client of `sagemaker`; the job's ARN. Does not wait."""
    return str(client.create_training_job(**request(job, name))["TrainingJobArn"])


def request(job: TrainingJob, name: str) -> dict[str, Any]:
    """CreateTrainingJob's parameters."""
    return {
        "TrainingJobName": name,
        "RoleArn": job.role,
        "AlgorithmSpecification": {"TrainingImage": job.image, "TrainingInputMode": "File"},
        "HyperParameters": dict(job.hyperparameters),
        "InputDataConfig": [
            {
                "ChannelName": channel,
                "ContentType": _CSV,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": uri,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for channel, uri in job.data.items()
        ],
        "OutputDataConfig": {"S3OutputPath": job.output, "CompressionType": "GZIP"},
        "ResourceConfig": {
            "InstanceType": job.instance_type,
            "InstanceCount": 1,
            "VolumeSizeInGB": job.volume_gb,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": job.runtime_s},
        "EnableNetworkIsolation": True,
    }


def sagemaker_library() -> Library:
    """`sagemaker`, imported now. TrainingUnavailable where it is not installed."""
    try:
        from sagemaker.core.shapes import StoppingCondition
        from sagemaker.core.training.configs import Compute, InputData, Networking, OutputDataConfig
        from sagemaker.train import ModelTrainer
    except ImportError as error:
        raise TrainingUnavailable(
            f"{error}: install sagemaker >= 3 (the extra `training`), or submit without it (`submit_plainly`)"
        ) from None
    return SimpleNamespace(
        ModelTrainer=ModelTrainer,
        Compute=Compute,
        InputData=InputData,
        Networking=Networking,
        OutputDataConfig=OutputDataConfig,
        StoppingCondition=StoppingCondition,
    )
