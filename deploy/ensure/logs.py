"""Log groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State
from deploy.ensure.documents import managed_tags


@dataclass(frozen=True)
class LogGroup(Resource):
    kind: ClassVar[str] = "log_group"

    name: str
    retention_days: int
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {"retention_days": self.retention_days, "tags": dict(self.tags)}

    def read(self, clients: Clients) -> State | None:
        group = self._group(clients)
        if group is None:
            return None
        present = clients("logs").list_tags_for_resource(resourceArn=_taggable_arn(group))["tags"]
        return {"retention_days": group.get("retentionInDays"), "tags": managed_tags(self.tags, present)}

    def create(self, clients: Clients) -> None:
        clients("logs").create_log_group(logGroupName=self.name, tags=dict(self.tags))

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        logs = clients("logs")
        if "retention_days" in fields:
            logs.put_retention_policy(logGroupName=self.name, retentionInDays=self.retention_days)
        if "tags" in fields:
            logs.tag_resource(resourceArn=_taggable_arn(self._group(clients) or {}), tags=dict(self.tags))

    def delete(self, clients: Clients) -> None:
        clients("logs").delete_log_group(logGroupName=self.name)

    def _group(self, clients: Clients) -> dict[str, Any] | None:
        pages = clients("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=self.name)
        named = (each for page in pages for each in page["logGroups"] if each["logGroupName"] == self.name)
        return next(named, None)


def _taggable_arn(group: Mapping[str, Any]) -> str:
    """The tagging calls want the ARN without the `:*` that stands for the group's streams."""
    return str(group["arn"]).removesuffix(":*")
