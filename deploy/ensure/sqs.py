"""Queues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found
from deploy.ensure.documents import managed_tags, policy, text

_MISSING: Final = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


@dataclass(frozen=True)
class Queue(Resource):
    """A standard queue, encrypted with the service's own key."""

    kind: ClassVar[str] = "sqs_queue"
    # A queue of the same name may be made a minute after its predecessor was deleted, and shows old attributes as long.
    settle_s: ClassVar[float] = 120.0

    name: str
    policy: Mapping[str, Any]
    retention_s: int
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {
            "encryption": True,
            "policy": policy(self.policy),
            "retention_s": self.retention_s,
            "tags": dict(self.tags),
        }

    def read(self, clients: Clients) -> State | None:
        url = queue_url(clients, self.name)
        if url is None:
            return None
        sqs = clients("sqs")
        attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return {
            "encryption": attributes.get("SqsManagedSseEnabled", "false").lower() == "true",
            "policy": policy(attributes["Policy"]) if attributes.get("Policy") else None,
            "retention_s": int(attributes["MessageRetentionPeriod"]),
            "tags": managed_tags(self.tags, sqs.list_queue_tags(QueueUrl=url).get("Tags", {})),
        }

    def create(self, clients: Clients) -> None:
        clients("sqs").create_queue(
            QueueName=self.name, Attributes=self._attributes(frozenset(self.desired())), tags=dict(self.tags)
        )

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        sqs, url = clients("sqs"), queue_url(clients, self.name)
        if attributes := self._attributes(fields):
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        if "tags" in fields:
            sqs.tag_queue(QueueUrl=url, Tags=dict(self.tags))

    def delete(self, clients: Clients) -> None:
        clients("sqs").delete_queue(QueueUrl=queue_url(clients, self.name))

    def _attributes(self, fields: frozenset[str]) -> dict[str, str]:
        written = {
            "encryption": ("SqsManagedSseEnabled", "true"),
            "policy": ("Policy", text(self.policy)),
            "retention_s": ("MessageRetentionPeriod", str(self.retention_s)),
        }
        return dict(written[field] for field in sorted(fields & written.keys()))


def queue_url(clients: Clients, name: str) -> str | None:
    """What most calls want instead of a name; None where the queue does not exist."""
    answer = found(lambda: clients("sqs").get_queue_url(QueueName=name), *_MISSING)
    return str(answer["QueueUrl"]) if answer else None
