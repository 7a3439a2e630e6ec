"""Models, endpoint configurations, endpoints and jobs by kind and name, kept in one file.

A resource is what its Describe operation answers, times as epoch seconds. A change is on disk before it is answered.
"""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from localcloud.region import ACCOUNT
from localcloud.sagemaker.wire import Json, ServiceError
from plantwatch.files import written_whole

FAILURE_CHARS_MAX: Final = 1024
_PAGE_DEFAULT: Final = 10
_FILE: Final = "resources.json"


class Kind(StrEnum):
    """As in ARNs."""

    MODEL = "model"
    ENDPOINT_CONFIG = "endpoint-config"
    ENDPOINT = "endpoint"
    TRANSFORM_JOB = "transform-job"
    TRAINING_JOB = "training-job"


_JOBS: Final = {
    Kind.TRANSFORM_JOB: ("a job", "Job name"),
    Kind.TRAINING_JOB: ("a training job", "Training job names"),
}
_CALLED: Final = {
    Kind.MODEL: "model",
    Kind.ENDPOINT_CONFIG: "endpoint configuration",
    Kind.ENDPOINT: "endpoint",
}


class Resources:
    """All resources of one region. Safe for several threads; what is handed out are copies."""

    def __init__(self, folder: Path, region: str) -> None:
        self.region = region
        self._path = folder / _FILE
        self._lock = threading.RLock()
        self._kinds: dict[str, dict[str, Json]] = {kind: {} for kind in Kind}
        if self._path.exists():
            self._kinds |= json.loads(self._path.read_text())

    def arn(self, kind: Kind, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{ACCOUNT}:{kind}/{name.lower()}"

    def create(self, kind: Kind, name: str, resource: Mapping[str, Any]) -> None:
        """ServiceError, as AWS has it, where the name is taken."""
        with self._lock:
            if name in self._kinds[kind]:
                raise self._taken(kind, name)
            self._kinds[kind][name] = {**resource, "CreationTime": time.time()}
            self._save()

    def get(self, kind: Kind, name: str) -> Json:
        """A copy; ServiceError, as AWS has it, where there is none."""
        with self._lock:
            return copy.deepcopy(self._found(kind, name))

    def exists(self, kind: Kind, name: str) -> bool:
        with self._lock:
            return name in self._kinds[kind]

    @contextmanager
    def change(self, kind: Kind, name: str) -> Iterator[Json]:
        """The resource itself, to be changed; saved at the end unless an exception leaves the block."""
        with self._lock:
            resource = copy.deepcopy(self._found(kind, name))
            yield resource
            resource["LastModifiedTime"] = time.time()
            self._kinds[kind][name] = resource
            self._save()

    def delete(self, kind: Kind, name: str) -> Json:
        with self._lock:
            found = self._found(kind, name)
            del self._kinds[kind][name]
            self._save()
            return found

    def names(self, kind: Kind) -> list[str]:
        with self._lock:
            return list(self._kinds[kind])

    def page(self, kind: Kind, request: Json, *, name_key: str, status_key: str = "") -> tuple[list[Json], str]:
        """One page of a List operation, and the token of the next one ("" at the end)."""
        with self._lock:
            found = [copy.deepcopy(resource) for resource in self._kinds[kind].values()]
        contains, status = request.get("NameContains", ""), request.get("StatusEquals")
        found = [
            resource
            for resource in found
            if contains.lower() in resource[name_key].lower() and (not status or resource[status_key] == status)
        ]
        by_name = request.get("SortBy") == "Name"
        found.sort(
            key=lambda resource: resource[name_key] if by_name else resource["CreationTime"],
            reverse=request.get("SortOrder", "Descending") == "Descending",
        )
        start, size = _start(request.get("NextToken", "")), request.get("MaxResults", _PAGE_DEFAULT)
        more = start + size < len(found)
        return found[start : start + size], str(start + size) if more else ""

    def _found(self, kind: Kind, name: str) -> Json:
        resource = self._kinds[kind].get(name)
        if resource is not None:
            return resource
        if kind is Kind.TRAINING_JOB:
            raise ServiceError("ValidationException", "Requested resource not found.")
        if kind is Kind.TRANSFORM_JOB:
            raise ServiceError("ResourceNotFound", f"Could not find requested job with name: {name}")
        raise ServiceError("ValidationException", f'Could not find {_CALLED[kind]} "{self.arn(kind, name)}".')

    def _taken(self, kind: Kind, name: str) -> ServiceError:
        arn = self.arn(kind, name)
        if kind in _JOBS:
            one, several = _JOBS[kind]
            message = f"{several} must be unique within an AWS account and region, and {one} with this name already"
            return ServiceError("ResourceInUse", f"{message} exists ({arn})")
        return ServiceError("ValidationException", f'Cannot create already existing {_CALLED[kind]} "{arn}".')

    def _save(self) -> None:
        with written_whole(self._path) as unfinished:
            unfinished.write_text(json.dumps(self._kinds, indent=1))


def shown(resource: Mapping[str, Any], members: frozenset[str]) -> Json:
    """What the operation may answer of a resource."""
    return {name: value for name, value in resource.items() if name in members and value is not None}


def cut(reason: str) -> str:
    """A failure's reason, as long as AWS lets it be."""
    return reason if len(reason) <= FAILURE_CHARS_MAX else reason[: FAILURE_CHARS_MAX - 3] + "..."


def _start(token: str) -> int:
    if token and not token.isdecimal():
        raise ServiceError("ValidationException", "NextToken is none of ours")
    return int(token or 0)
