"""A global table: three resources, because each of its attributes has one owner.

`Table` (primary region) owns keys, billing, stream and time to live, which every replica shares, and its own region's
safety net. `Replication` (primary region) owns the list of replicas. `ReplicaTable` (replica's region) owns that
region's safety net: backups, deletion protection and tags are not replicated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found, wait_until
from deploy.ensure.documents import managed_tags, tag_list

_STREAM: Final = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}
_KEYS: Final = {"pk": "HASH", "sk": "RANGE"}
_MISSING: Final = "ResourceNotFoundException"
# A new replica of a large table is filled from a backup first.
_ACTIVE_WITHIN_S: Final = 900.0


class ImmutableField(Exception):
    """The table that is there differs in what no update can change."""


@dataclass(frozen=True)
class Table(Resource):
    kind: ClassVar[str] = "dynamodb_table"

    name: str
    ttl_attribute: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {
            "billing": "PAY_PER_REQUEST",
            "stream": _STREAM["StreamViewType"],
            "ttl_attribute": self.ttl_attribute,
            **_safety_net(self.tags),
        }

    def read(self, clients: Clients) -> State | None:
        table = _describe(clients, self.name)
        if table is None:
            return None
        if (keys := {key["AttributeName"]: key["KeyType"] for key in table["KeySchema"]}) != _KEYS:
            raise ImmutableField(f"table {self.name} in {clients.region} has keys {keys}, not {_KEYS}: move it away")
        stream = table.get("StreamSpecification", {})
        return {
            "billing": table.get("BillingModeSummary", {}).get("BillingMode", "PROVISIONED"),
            "stream": stream.get("StreamViewType") if stream.get("StreamEnabled") else None,
            "ttl_attribute": _ttl_attribute(clients, self.name),
            **_read_safety_net(clients, table, self.tags),
        }

    def create(self, clients: Clients) -> None:
        clients("dynamodb").create_table(
            TableName=self.name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in _KEYS],
            KeySchema=[{"AttributeName": key, "KeyType": role} for key, role in _KEYS.items()],
            StreamSpecification=_STREAM,
            DeletionProtectionEnabled=True,
            Tags=tag_list(self.tags),
        )
        _wait(clients, self.name)

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        dynamodb = clients("dynamodb")
        if "billing" in fields:
            _update_table(clients, self.name, BillingMode="PAY_PER_REQUEST")
        if "stream" in fields:
            self._set_stream(clients)
        if "ttl_attribute" in fields:
            specification = {"Enabled": True, "AttributeName": self.ttl_attribute}
            dynamodb.update_time_to_live(TableName=self.name, TimeToLiveSpecification=specification)
        _update_safety_net(clients, self.name, self.tags, fields)

    def delete(self, clients: Clients) -> None:
        _delete(clients, self.name)

    def _set_stream(self, clients: Clients) -> None:
        """A stream with another view cannot be changed, only ended and begun."""
        table = _describe(clients, self.name) or {}
        if table.get("StreamSpecification", {}).get("StreamEnabled"):
            _update_table(clients, self.name, StreamSpecification={"StreamEnabled": False})
        _update_table(clients, self.name, StreamSpecification=_STREAM)


@dataclass(frozen=True)
class Replication(Resource):
    """The regions that hold a copy of the table beside its own. Others that someone added are not ours to end."""

    kind: ClassVar[str] = "dynamodb_replication"

    name: str
    regions: tuple[str, ...]

    def desired(self) -> State:
        return {"replicas": sorted(self.regions)}

    def read(self, clients: Clients) -> State | None:
        replicas = self._replicas(clients)
        present = sorted(region for region in self.regions if replicas.get(region) == "ACTIVE")
        return {"replicas": present} if present else None

    def create(self, clients: Clients) -> None:
        for region in sorted(set(self.regions) - self._replicas(clients).keys()):
            # One replica per UpdateTable.
            _update_table(clients, self.name, ReplicaUpdates=[{"Create": {"RegionName": region}}])
        wait_until(lambda: self._all_active(clients), _ACTIVE_WITHIN_S, "every replica is active")

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        if "replicas" in fields:
            self.create(clients)

    def delete(self, clients: Clients) -> None:
        for region in self.regions:
            _update_table(clients, self.name, ReplicaUpdates=[{"Delete": {"RegionName": region}}])

    def _all_active(self, clients: Clients) -> bool:
        replicas = self._replicas(clients)
        return all(replicas.get(region) == "ACTIVE" for region in self.regions)

    def _replicas(self, clients: Clients) -> dict[str, str]:
        table = _describe(clients, self.name) or {}
        return {each["RegionName"]: each.get("ReplicaStatus", "ACTIVE") for each in table.get("Replicas", ())}


@dataclass(frozen=True)
class ReplicaTable(Resource):
    """The copy in the other region. It comes with the replication and is never made by hand."""

    kind: ClassVar[str] = "dynamodb_replica"

    name: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return _safety_net(self.tags)

    def read(self, clients: Clients) -> State | None:
        table = _describe(clients, self.name)
        return _read_safety_net(clients, table, self.tags) if table else None

    def create(self, clients: Clients) -> None:
        """The primary region calls it active; here it may be seen a moment later."""
        _wait(clients, self.name)

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        _update_safety_net(clients, self.name, self.tags, fields)

    def delete(self, clients: Clients) -> None:
        _delete(clients, self.name)


def _safety_net(tags: Mapping[str, str]) -> State:
    return {"deletion_protection": True, "point_in_time_recovery": "ENABLED", "tags": dict(tags)}


def _read_safety_net(clients: Clients, table: Mapping[str, Any], tags: Mapping[str, str]) -> State:
    dynamodb = clients("dynamodb")
    backups = dynamodb.describe_continuous_backups(TableName=table["TableName"])["ContinuousBackupsDescription"]
    present = dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"]
    return {
        "deletion_protection": bool(table.get("DeletionProtectionEnabled")),
        "point_in_time_recovery": backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"],
        "tags": managed_tags(tags, present),
    }


def _update_safety_net(clients: Clients, name: str, tags: Mapping[str, str], fields: frozenset[str]) -> None:
    dynamodb = clients("dynamodb")
    if "deletion_protection" in fields:
        _update_table(clients, name, DeletionProtectionEnabled=True)
    if "point_in_time_recovery" in fields:
        specification = {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=specification)
    if "tags" in fields:
        arn = dynamodb.describe_table(TableName=name)["Table"]["TableArn"]
        dynamodb.tag_resource(ResourceArn=arn, Tags=tag_list(tags))


def _ttl_attribute(clients: Clients, name: str) -> str | None:
    description = clients("dynamodb").describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    enabled = description.get("TimeToLiveStatus") in ("ENABLED", "ENABLING")
    return description.get("AttributeName") if enabled else None


def _describe(clients: Clients, name: str) -> dict[str, Any] | None:
    answer = found(lambda: clients("dynamodb").describe_table(TableName=name), _MISSING)
    return dict(answer["Table"]) if answer else None


def _update_table(clients: Clients, name: str, **change: Any) -> None:
    """A table takes one change at a time, and only while it is active."""
    clients("dynamodb").update_table(TableName=name, **change)
    _wait(clients, name)


def _wait(clients: Clients, name: str) -> None:
    def active() -> bool:
        table = _describe(clients, name)
        return table is not None and table["TableStatus"] == "ACTIVE"

    wait_until(active, _ACTIVE_WITHIN_S, "the table is active")


def _delete(clients: Clients, name: str) -> None:
    _update_table(clients, name, DeletionProtectionEnabled=False)
    clients("dynamodb").delete_table(TableName=name)
