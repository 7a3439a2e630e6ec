"""Streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found, wait_until
from deploy.ensure.documents import managed_tags

_KEY: Final = "alias/aws/kinesis"
# A reshard of a busy stream takes minutes, every other change seconds.
_ACTIVE_WITHIN_S: Final = 600.0


@dataclass(frozen=True)
class Stream(Resource):
    """A provisioned stream, encrypted with the service's own key."""

    kind: ClassVar[str] = "kinesis_stream"

    name: str
    shards: int
    retention_hours: int
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {
            "encryption": _KEY,
            "retention_hours": self.retention_hours,
            "shards": self.shards,
            "tags": dict(self.tags),
        }

    def read(self, clients: Clients) -> State | None:
        summary = self._summary(clients)
        if summary is None or summary["StreamStatus"] == "DELETING":
            return None
        tags = clients("kinesis").list_tags_for_stream(StreamName=self.name)["Tags"]
        return {
            "encryption": summary.get("KeyId") if summary.get("EncryptionType") == "KMS" else None,
            "retention_hours": summary["RetentionPeriodHours"],
            "shards": summary["OpenShardCount"],
            "tags": managed_tags(self.tags, tags),
        }

    def create(self, clients: Clients) -> None:
        kinesis = clients("kinesis")
        wait_until(lambda: self._summary(clients) is None, _ACTIVE_WITHIN_S, "its predecessor is deleted")
        kinesis.create_stream(
            StreamName=self.name, ShardCount=self.shards, StreamModeDetails={"StreamMode": "PROVISIONED"}
        )
        self._wait(clients)

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        kinesis = clients("kinesis")
        if "tags" in fields:
            kinesis.add_tags_to_stream(StreamName=self.name, Tags=dict(self.tags))
        if "retention_hours" in fields:
            self._set_retention(clients)
        if "encryption" in fields:
            kinesis.start_stream_encryption(StreamName=self.name, EncryptionType="KMS", KeyId=_KEY)
            self._wait(clients)
        if "shards" in fields:
            kinesis.update_shard_count(
                StreamName=self.name, TargetShardCount=self.shards, ScalingType="UNIFORM_SCALING"
            )
            self._wait(clients)

    def delete(self, clients: Clients) -> None:
        clients("kinesis").delete_stream(StreamName=self.name, EnforceConsumerDeletion=True)

    def _set_retention(self, clients: Clients) -> None:
        kinesis = clients("kinesis")
        now = kinesis.describe_stream_summary(StreamName=self.name)["StreamDescriptionSummary"]["RetentionPeriodHours"]
        longer = now < self.retention_hours
        call = kinesis.increase_stream_retention_period if longer else kinesis.decrease_stream_retention_period
        call(StreamName=self.name, RetentionPeriodHours=self.retention_hours)
        self._wait(clients)

    def _wait(self, clients: Clients) -> None:
        def active() -> bool:
            summary = self._summary(clients)
            return summary is not None and summary["StreamStatus"] == "ACTIVE"

        wait_until(active, _ACTIVE_WITHIN_S, "the stream is active")

    def _summary(self, clients: Clients) -> dict[str, Any] | None:
        kinesis = clients("kinesis")
        answer = found(lambda: kinesis.describe_stream_summary(StreamName=self.name), "ResourceNotFoundException")
        return dict(answer["StreamDescriptionSummary"]) if answer else None
