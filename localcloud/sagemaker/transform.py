"""Batch transform: objects of S3, cut into requests as SageMaker cuts them, through a container, back to S3.

One request at a time, in the order of keys and lines, whatever MaxConcurrentTransforms says: on one machine more would
gain nothing. The first request that the container refuses fails the job, and its object has no output.
"""

from __future__ import annotations

import gzip
import http.client
import io
import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Final, NamedTuple

from localcloud.sagemaker.artefacts import OBJECT_BYTES_MAX, Artefacts, Location, location, relative
from localcloud.sagemaker.containers import Containers
from localcloud.sagemaker.endpoints import Endpoints, refuse_unknown, unsupported
from localcloud.sagemaker.jobs import JobFailed, Jobs
from localcloud.sagemaker.resources import Kind, Resources
from localcloud.sagemaker.wire import Json, ServiceError

# SageMaker's defaults, where neither the job nor the container says otherwise.
PAYLOAD_MB: Final = 6
INVOCATION_S: Final = 600.0
_MB: Final = 2**20


class Cut(NamedTuple):
    """How objects become requests."""

    by_line: bool
    several: bool
    payload_bytes_max: int


class TransformJobs(Jobs):
    kind = Kind.TRANSFORM_JOB
    called = "TransformJob"
    started, ended = "TransformStartTime", "TransformEndTime"

    def __init__(
        self, resources: Resources, containers: Containers, artefacts: Artefacts, endpoints: Endpoints
    ) -> None:
        super().__init__(resources, containers)
        self._artefacts = artefacts
        self._endpoints = endpoints

    def create(self, request: Json) -> Json:
        refuse_unknown(
            request,
            {"TransformJobName", "ModelName", "MaxConcurrentTransforms", "ModelClientConfig", "MaxPayloadInMB",
             "BatchStrategy", "Environment", "TransformInput", "TransformOutput", "TransformResources", "Tags"},
            "transform job",
        )  # fmt: skip
        source = request["TransformInput"]
        if source["DataSource"]["S3DataSource"]["S3DataType"] != "S3Prefix":
            raise unsupported("an S3DataType other than S3Prefix")
        if source.get("SplitType", "None") not in {"None", "Line"}:
            raise unsupported("a SplitType other than None and Line")
        if request.get("BatchStrategy") == "MultiRecord" and source.get("SplitType", "None") == "None":
            raise ServiceError("ValidationException", "BatchStrategy MultiRecord needs a SplitType other than None.")
        self._resources.get(Kind.MODEL, request["ModelName"])
        return self.begin(request)

    def _run(self, name: str, request: Json, container: str) -> None:
        prefix = location(request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"])
        keys = self._artefacts.below(prefix)
        self._endpoints.start_model(container, request["ModelName"], _environment(request))
        cut = _cut(request, self._parameters(container))
        output = location(request["TransformOutput"]["S3OutputPath"])
        for key in keys:
            answers = self._transform(name, container, request, Location(prefix.bucket, key), cut)
            where = Location(output.bucket, f"{output.key.rstrip('/')}/{relative(key, prefix.key)}.out".lstrip("/"))
            self._artefacts.write(where, answers)

    def _transform(self, name: str, container: str, request: Json, source: Location, cut: Cut) -> bytes:
        data = self._artefacts.read(source)
        if request["TransformInput"].get("CompressionType") == "Gzip":
            try:
                data = gzip.decompress(data)
            except (OSError, EOFError) as error:
                raise JobFailed(f"ClientError: {source} is no gzip: {error}") from None
        by_line = request["TransformOutput"].get("AssembleWith", "None") == "Line"
        answers: list[bytes] = []
        for payload in payloads(data, cut):
            self._check_stopped(name)
            if len(payload) > cut.payload_bytes_max:
                raise JobFailed(
                    f"ClientError: {source}: a record of {len(payload)} bytes; MaxPayloadInMB allows"
                    f" {cut.payload_bytes_max}"
                )
            answer = self._invoke(container, request, source, payload)
            answers.append(answer + b"\n" if by_line and not answer.endswith(b"\n") else answer)
        return b"".join(answers)

    def _invoke(self, container: str, request: Json, source: Location, payload: bytes) -> bytes:
        headers = {
            "Content-Type": request["TransformInput"].get("ContentType", ""),
            "Accept": request["TransformOutput"].get("Accept", ""),
        }
        timeout_s = request.get("ModelClientConfig", {}).get("InvocationsTimeoutInSeconds", INVOCATION_S)
        given = {name: value for name, value in headers.items() if value}
        try:
            reply = self._containers.call(container, "POST", "/invocations", payload, given, timeout_s=timeout_s)
        except (OSError, http.client.HTTPException) as error:
            raise JobFailed(f"AlgorithmError: {source}: the container does not answer: {error!r}") from None
        if reply.status != HTTPStatus.OK:
            whose = "ClientError" if reply.status < HTTPStatus.INTERNAL_SERVER_ERROR else "AlgorithmError"
            text = reply.body.decode(errors="replace").strip()
            raise JobFailed(f"{whose}: {source}: {reply.status}: {text}")
        return reply.body

    def _parameters(self, container: str) -> Json:
        """What the container asks for; nothing is an answer, too."""
        reply = self._containers.call(container, "GET", "/execution-parameters", timeout_s=INVOCATION_S)
        wanted: Json = json.loads(reply.body) if reply.status == HTTPStatus.OK else {}
        return wanted


def payloads(data: bytes, cut: Cut) -> Iterator[bytes]:
    """An object's requests: whole, line by line, or as many whole lines as fit. A line too long comes by itself."""
    if not cut.by_line:
        yield data
        return
    packed: list[bytes] = []
    size = 0
    for line in io.BytesIO(data):
        if packed and (not cut.several or size + len(line) > cut.payload_bytes_max):
            yield b"".join(packed)
            packed, size = [], 0
        packed.append(line)
        size += len(line)
    if packed:
        yield b"".join(packed)


def _cut(request: Json, wanted: Json) -> Cut:
    by_line = request["TransformInput"].get("SplitType", "None") == "Line"
    asked = "MultiRecord" if wanted.get("BatchStrategy", "MULTI_RECORD") == "MULTI_RECORD" else "SingleRecord"
    megabytes: int = wanted.get("MaxPayloadInMB", PAYLOAD_MB)
    megabytes = request.get("MaxPayloadInMB", megabytes)
    return Cut(by_line, request.get("BatchStrategy", asked) == "MultiRecord", megabytes * _MB or OBJECT_BYTES_MAX)


def _environment(request: Json) -> dict[str, str]:
    environment = {**request.get("Environment", {}), "SAGEMAKER_BATCH": "true"}
    if "MaxPayloadInMB" in request:
        environment["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(request["MaxPayloadInMB"])
    if "BatchStrategy" in request:
        words = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
        environment["SAGEMAKER_BATCH_STRATEGY"] = words[request["BatchStrategy"]]
    if "MaxConcurrentTransforms" in request:
        environment["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(request["MaxConcurrentTransforms"])
    return environment
