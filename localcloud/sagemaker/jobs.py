"""What transform and training jobs share: a thread each, a status in the resources, and a way to be stopped.

A job that was under way when the service ended is Failed at its next start: its container ended with it.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import Any

from localcloud.sagemaker import validation
from localcloud.sagemaker.artefacts import ArtefactProblem
from localcloud.sagemaker.containers import ContainerFailed, Containers
from localcloud.sagemaker.endpoints import listing
from localcloud.sagemaker.resources import Kind, Resources, cut, shown
from localcloud.sagemaker.wire import Json, ServiceError


class JobFailed(Exception):
    """The job's FailureReason, which begins with whose fault it was: ClientError, AlgorithmError."""


class JobStopped(Exception):
    """Somebody asked for it."""


class Jobs(ABC):
    """One kind of job. Subclasses say how one runs (`_run`)."""

    kind: Kind
    called: str
    """As in the names of operations and members: "TransformJob"."""
    started: str
    ended: str

    def __init__(self, resources: Resources, containers: Containers) -> None:
        self._resources = resources
        self._containers = containers
        self._stops: dict[str, threading.Event] = {}

    def resume(self) -> None:
        for name in self._resources.names(self.kind):
            if self._status(name) in {"InProgress", "Stopping"}:
                self._finish(name, "Failed", "InternalServerError: the local service ended before the job did")

    def describe(self, request: Json) -> Json:
        resource = self._resources.get(self.kind, request[f"{self.called}Name"])
        return shown(resource, validation.output_members(f"Describe{self.called}"))

    def list(self, request: Json) -> Json:
        found, token = self._resources.page(
            self.kind, request, name_key=f"{self.called}Name", status_key=f"{self.called}Status"
        )
        return listing(f"List{self.called}s", f"{self.called}Summaries", found, token)

    def stop(self, request: Json) -> Json:
        """Stopping, and soon Stopped. One that is over cannot be stopped."""
        name = request[f"{self.called}Name"]
        status = self._status(name)
        if status != "InProgress":
            message = f"The request was rejected because the job is in status {status}."
            raise ServiceError("ValidationException", message)
        self._set(name, Status="Stopping")
        self._stops[name].set()
        return {}

    def begin(self, request: Json) -> Json:
        """Create the resource and start the thread; the answer of the Create operation."""
        name = request[f"{self.called}Name"]
        arn = self._resources.arn(self.kind, name)
        job = {**request, f"{self.called}Arn": arn, f"{self.called}Status": "InProgress"}
        self._resources.create(self.kind, name, job)
        self._stops[name] = threading.Event()
        threading.Thread(target=self._work, args=(name, request), name=f"{self.kind} {name}", daemon=True).start()
        return {f"{self.called}Arn": arn}

    @abstractmethod
    def _run(self, name: str, request: Json, container: str) -> None:
        """JobFailed, JobStopped, ArtefactProblem, ContainerFailed or ServiceError where it does not come to its end."""

    def _work(self, name: str, request: Json) -> None:
        self._change(name, {self.started: time.time()})
        container = f"{self.kind}-{name}"
        try:
            self._run(name, request, container)
            self._check_stopped(name)
        except JobStopped:
            self._finish(name, "Stopped")
        except ArtefactProblem as error:
            self._finish(name, "Failed", f"ClientError: {error}")
        except (ContainerFailed, ServiceError) as error:
            self._finish(name, "Failed", f"AlgorithmError: {error}")
        except JobFailed as error:
            self._finish(name, "Failed", str(error))
        except Exception as error:
            self._finish(name, "Failed", f"InternalServerError: {error!r}")
            raise
        else:
            self._finish(name, "Completed")
        finally:
            self._containers.stop(container)

    def _check_stopped(self, name: str) -> None:
        if self._stops[name].is_set():
            raise JobStopped

    def _finish(self, name: str, status: str, reason: str = "") -> None:
        self._set(name, Status=status)
        self._change(name, {self.ended: time.time(), **({"FailureReason": cut(reason)} if reason else {})})

    def _status(self, name: str) -> str:
        return str(self._resources.get(self.kind, name)[f"{self.called}Status"])

    def _set(self, name: str, **members: Any) -> None:
        """Members whose names begin with the kind's."""
        self._change(name, {f"{self.called}{member}": value for member, value in members.items()})

    def _change(self, name: str, members: Json) -> None:
        with self._resources.change(self.kind, name) as job:
            job |= members
