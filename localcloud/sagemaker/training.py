"""Training jobs: channels from S3 into a container's folder, `train`, its model back to S3."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

from localcloud.sagemaker.artefacts import Artefacts, Location, location, pack, relative
from localcloud.sagemaker.containers import IMAGE, Containers, is_ours
from localcloud.sagemaker.endpoints import refuse_unknown, unsupported
from localcloud.sagemaker.jobs import JobFailed, Jobs
from localcloud.sagemaker.resources import Kind, Resources, cut
from localcloud.sagemaker.wire import Json

# CreateTrainingJob's default.
RUNTIME_S: Final = 86_400
_POLL_S: Final = 0.1


class TrainingJobs(Jobs):
    kind = Kind.TRAINING_JOB
    called = "TrainingJob"
    started, ended = "TrainingStartTime", "TrainingEndTime"

    def __init__(self, resources: Resources, containers: Containers, artefacts: Artefacts) -> None:
        super().__init__(resources, containers)
        self._artefacts = artefacts

    def create(self, request: Json) -> Json:
        refuse_unknown(
            request,
            {"TrainingJobName", "HyperParameters", "AlgorithmSpecification", "RoleArn", "InputDataConfig",
             "OutputDataConfig", "ResourceConfig", "StoppingCondition", "Tags", "VpcConfig",
             "EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "Environment"},
            "training job",
        )  # fmt: skip
        algorithm = request.get("AlgorithmSpecification") or {}
        refuse_unknown(algorithm, {"TrainingImage", "TrainingInputMode"}, "AlgorithmSpecification")
        if not is_ours(algorithm.get("TrainingImage", "")):
            raise unsupported(f"an image other than {IMAGE}")
        if algorithm.get("TrainingInputMode") != "File":
            raise unsupported("a TrainingInputMode other than File")
        for channel in request.get("InputDataConfig", []):
            source = channel["DataSource"].get("S3DataSource") or {}
            if source.get("S3DataType") != "S3Prefix":
                raise unsupported("channels other than of S3Prefix")
        return self.begin({**request, "SecondaryStatus": "Starting", "SecondaryStatusTransitions": []})

    def _run(self, name: str, request: Json, container: str) -> None:
        root = self._containers.folder(container)
        self._enter(name, "Downloading")
        _write_configuration(root / "input" / "config", request)
        for channel in request.get("InputDataConfig", []):
            self._check_stopped(name)
            source = location(channel["DataSource"]["S3DataSource"]["S3Uri"])
            self._download(source, root / "input" / "data" / channel["ChannelName"])
        self._enter(name, "Training")
        self._train(name, request, container, root)
        self._enter(name, "Uploading")
        output = location(request["OutputDataConfig"]["S3OutputPath"])
        where = Location(output.bucket, f"{output.key.rstrip('/')}/{name}/output/model.tar.gz".lstrip("/"))
        self._artefacts.write(where, pack(root / "model"))
        self._change(name, {"ModelArtifacts": {"S3ModelArtifacts": str(where)}})

    def _train(self, name: str, request: Json, container: str, root: Path) -> None:
        (root / "model").mkdir()
        self._containers.start(container, "train", root, request.get("Environment", {}))
        ends_at = time.monotonic() + request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", RUNTIME_S)
        while (code := self._containers.exit_code(container)) is None:
            if time.monotonic() >= ends_at:
                # As AWS: a job that ran out of time is Stopped.
                self._stops[name].set()
            self._check_stopped(name)
            time.sleep(_POLL_S)
        if code:
            failure = root / "output" / "failure"
            said = failure.read_text(errors="replace") if failure.exists() else self._containers.log_end(container)
            raise JobFailed(f"AlgorithmError: {said}, exit code: {code}")

    def _download(self, source: Location, folder: Path) -> None:
        for key in self._artefacts.below(source):
            path = folder / relative(key, source.key)
            if not path.resolve().is_relative_to(folder.resolve()):
                raise JobFailed(f"ClientError: {source.bucket}/{key} would be written outside of its channel")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self._artefacts.read(Location(source.bucket, key)))

    def _finish(self, name: str, status: str, reason: str = "") -> None:
        super()._finish(name, status, reason)
        self._enter(name, status, reason)

    def _enter(self, name: str, stage: str, message: str = "") -> None:
        """The job's SecondaryStatus, with its history."""
        now = time.time()
        with self._resources.change(self.kind, name) as job:
            transitions = job["SecondaryStatusTransitions"]
            if transitions:
                transitions[-1]["EndTime"] = now
            transitions.append({"Status": stage, "StartTime": now, "StatusMessage": cut(message) or stage})
            job["SecondaryStatus"] = stage


def _write_configuration(folder: Path, request: Json) -> None:
    folder.mkdir(parents=True)
    files = {
        "hyperparameters.json": request.get("HyperParameters", {}),
        "inputdataconfig.json": {
            channel["ChannelName"]: {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
            for channel in request.get("InputDataConfig", [])
        },
        "resourceconfig.json": {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "lo"},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
