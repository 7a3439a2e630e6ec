"""A local SageMaker beside an emulated region whose S3 it uses, as `plantwatch up` would have them."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from localcloud.processes import ProcessTable, free_ports, wait_until
from localcloud.sagemaker.process import endpoint_url, sagemaker_spec
from plantwatch.bundle.container import write
from tests.bundle_support import AT, bundle
from tests.region_support import RunningRegion

BUCKET: Final = "models"
ROLE: Final = "arn:aws:iam::000000000000:role/sagemaker"
IMAGE: Final = "registry.invalid/plantwatch-sagemaker:0.1.0"
WITHIN_S: Final = 40.0
Json = dict[str, Any]


class LocalSageMaker:
    """The service as a process, and boto3's clients of it."""

    def __init__(self, table: ProcessTable, root: Path, region: RunningRegion) -> None:
        self.region = region
        [port] = free_ports(1)
        self._table = table
        self.port = port
        self._spec = sagemaker_spec(region.region, port, root)
        self.api = self._client("sagemaker")
        self.runtime = self._client("sagemaker-runtime")
        self.s3 = region.client("s3")

    def start(self) -> None:
        self._table.start(self._spec)
        wait_until(self._answers, WITHIN_S, "the local SageMaker answers")

    def stop(self) -> None:
        self._table.stop(self._spec.name)

    def kill(self) -> None:
        self._table.kill(self._spec.name)

    @property
    def pid(self) -> int:
        return self._table.pid(self._spec.name)

    def put(self, key: str, data: bytes) -> str:
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=data)
        return f"s3://{BUCKET}/{key}"

    def get(self, key: str) -> bytes:
        data: bytes = self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data

    def keys(self, prefix: str) -> list[str]:
        return [item["Key"] for item in self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]

    def model(self, name: str, archive: bytes | None = None, **container: Any) -> None:
        url = self.put(f"{name}/model.tar.gz", model_archive() if archive is None else archive)
        self.api.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": url, **container},
        )

    def endpoint(self, name: str, model: str) -> str:
        """Create it, and wait for what becomes of it: its status."""
        self.config(name, model)
        self.api.create_endpoint(EndpointName=name, EndpointConfigName=name)
        return self.settled(name)

    def config(self, name: str, model: str) -> None:
        variant = {
            "VariantName": "AllTraffic", "ModelName": model, "InitialInstanceCount": 1, "InstanceType": "ml.t2.medium",
        }  # fmt: skip
        self.api.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])

    def settled(self, name: str) -> str:
        wait_until(lambda: self._endpoint_status(name) not in {"Creating", "Updating"}, WITHIN_S, f"endpoint {name}")
        return self._endpoint_status(name)

    def transform(self, name: str, model: str, data: str, **changes: Any) -> Json:
        """Run a job to its end: its description."""
        source = {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data}}, "ContentType": "text/csv"}
        request: Json = {
            "TransformJobName": name,
            "ModelName": model,
            "TransformInput": {**source, "SplitType": "Line", **changes.pop("TransformInput", {})},
            "TransformOutput": {
                "S3OutputPath": f"s3://{BUCKET}/out/{name}", "AssembleWith": "Line",
                **changes.pop("TransformOutput", {}),
            },
            "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
            **changes,
        }  # fmt: skip
        self.api.create_transform_job(**request)
        return self.ended("transform", name)

    def train(self, name: str, data: str, **changes: Any) -> Json:
        self.begin_training(name, data, **changes)
        return self.ended("training", name)

    def begin_training(self, name: str, data: str, **changes: Any) -> None:
        source = {"S3DataType": "S3Prefix", "S3Uri": data, "S3DataDistributionType": "FullyReplicated"}
        self.api.create_training_job(
            **{
                "TrainingJobName": name,
                "RoleArn": ROLE,
                "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
                "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
                "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/trained"},
                "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
                "StoppingCondition": {"MaxRuntimeInSeconds": 600},
                "HyperParameters": {"name": "pumps", "machine_type": "pump"},
                **changes,
            }
        )

    def ended(self, kind: str, name: str) -> Json:
        describe = getattr(self.api, f"describe_{kind}_job")
        key = f"{kind.capitalize()}Job"

        def job() -> Json:
            description: Json = describe(**{f"{key}Name": name})
            return description

        wait_until(lambda: job()[f"{key}Status"] in {"Completed", "Failed", "Stopped"}, WITHIN_S, f"{kind} job {name}")
        return job()

    def _endpoint_status(self, name: str) -> str:
        return str(self.api.describe_endpoint(EndpointName=name)["EndpointStatus"])

    def _answers(self) -> bool:
        self._table.check_alive()
        try:
            self.api.list_models()
        except ClientError:
            raise
        except Exception:  # noqa: BLE001 - whatever boto3 makes of a port on which nobody listens yet
            return False
        return True

    def _client(self, service: str) -> Any:
        # Parameters reach the service as they are: what it refuses is what is tested.
        return boto3.client(
            service, endpoint_url=endpoint_url(self.port), region_name=self.region.region.name,
            config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, read_timeout=WITHIN_S),
        )  # fmt: skip


@contextmanager
def local_sagemaker(root: Path) -> Iterator[LocalSageMaker]:
    table = ProcessTable(root / "table", die_with_parent=True)
    try:
        region = RunningRegion(table, root)
        region.start()
        region.client("s3").create_bucket(Bucket=BUCKET)
        service = LocalSageMaker(table, root, region)
        service.start()
        yield service
    finally:
        table.stop_all()
        table.close()


def model_archive(**files: bytes) -> bytes:
    """A model.tar.gz with the tests' bundle, or with `files`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, data in (files or {"pumps.bundle": write(bundle())}).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def recording(seed: int, rows: int = 1_700) -> bytes:
    """A pump's day as CSV."""
    random_ = random.Random(seed)
    lines = [f"{AT // 1000 + 60 * row},{random_.gauss(10, 0.5):.3f},{random_.gauss(5, 0.5):.3f}" for row in range(rows)]
    return "\n".join(["time,flow,pressure", *lines]).encode() + b"\n"
