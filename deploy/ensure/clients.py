"""Where a resource is made: one region, reached by one AWS profile."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Final

import boto3
from botocore.config import Config

from deploy.topology import RegionRole

# Throttles, 5xx and broken connections: botocore's own backoff, eight tries in about half a minute.
_CONFIG: Final = Config(retries={"mode": "standard", "max_attempts": 8}, connect_timeout=3, read_timeout=30)


@dataclass(frozen=True)
class Target:
    """A region and the profile (credentials, endpoint) that leads there."""

    role: RegionRole
    region: str
    profile: str


class Clients:
    """The service clients of one target, each made on first use; safe to share between threads."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.region = target.region
        self._session = boto3.Session(profile_name=target.profile, region_name=target.region)
        self._lock = threading.Lock()
        self._clients: dict[str, Any] = {}

    def __call__(self, service: str) -> Any:
        # A session may make clients in one thread at a time only; a client serves all threads.
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(service, config=_CONFIG)
            return self._clients[service]

    def account(self) -> str:
        return str(self("sts").get_caller_identity()["Account"])
