"""The service as a whole: every operation by name, checked against botocore's model before anything happens."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from localcloud.sagemaker import validation
from localcloud.sagemaker.artefacts import Artefacts
from localcloud.sagemaker.containers import Containers
from localcloud.sagemaker.endpoints import Endpoints
from localcloud.sagemaker.resources import Resources
from localcloud.sagemaker.training import TrainingJobs
from localcloud.sagemaker.transform import TransformJobs
from localcloud.sagemaker.wire import Answered, Invocation, Json, ServiceError


class SageMaker:
    """One region's SageMaker, with its state in `folder` and its models and data in the S3 of `s3`."""

    def __init__(self, folder: Path, s3: Any, *, region: str, python: str = sys.executable) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        resources, artefacts = Resources(folder, region), Artefacts(s3)
        self._containers = Containers(folder, python)
        self._endpoints = Endpoints(resources, artefacts, self._containers)
        self._transforms = TransformJobs(resources, self._containers, artefacts, self._endpoints)
        self._trainings = TrainingJobs(resources, self._containers, artefacts)
        self._operations = {
            **self._endpoints.operations,
            "CreateTransformJob": self._transforms.create,
            "DescribeTransformJob": self._transforms.describe,
            "StopTransformJob": self._transforms.stop,
            "ListTransformJobs": self._transforms.list,
            "CreateTrainingJob": self._trainings.create,
            "DescribeTrainingJob": self._trainings.describe,
            "StopTrainingJob": self._trainings.stop,
            "ListTrainingJobs": self._trainings.list,
        }

    def start(self) -> None:
        """What was in service is again; what was under way has failed."""
        for part in (self._transforms, self._trainings, self._endpoints):
            part.resume()

    def stop(self) -> None:
        self._containers.stop_all()

    def control(self, operation: str, parameters: Json) -> Json:
        if operation not in validation.operations():
            raise ServiceError("UnknownOperationException", f"SageMaker has no operation {operation[:100]!r}")
        handler = self._operations.get(operation)
        if handler is None:
            message = f"The local endpoint does not support the operation {operation}."
            raise ServiceError("UnknownOperationException", message)
        validation.check(operation, parameters)
        return handler(parameters)

    def invoke(self, invocation: Invocation) -> Answered:
        return self._endpoints.invoke(invocation)
