"""A replica of a table in another region is a copy inside this process.

Stock: UpdateTable with ReplicaUpdates copies the table into this process under the other region's name, so that the
real other region, a process of its own, never sees it; and says ACTIVE at once.
AWS: the replica appears in the other region, first CREATING, then ACTIVE; writes replicate both ways, usually within a
second, the last writer wins, deletes included; nothing is added to the items (DynamoDB developer guide, "Global
tables", version 2019.11.21).
Here: the table only remembers that it has a replica elsewhere, and of each key when and where it was last written: a
change log with one entry a key, so it is also what a full reconciliation needs. `localcloud.replicator` reads the log
of one region and applies it in the other (`localcloud.emulator.internal_api`). The log is part of the table's state,
is not visible in any item, and survives a restart with it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import get_region
from ministack.services import dynamodb

NAMES = (
    "ministack.core.responses:get_region",
    "ministack.services.dynamodb:_tables",
    "ministack.services.dynamodb:_emit_stream_event",
    "ministack.services.dynamodb:_create_replica",
    "ministack.services.dynamodb:_delete_table",
    "ministack.services.dynamodb:_update_table",
    "ministack.services.dynamodb:_create_table",
    "ministack.services.dynamodb:_normalize_table_name",
    "ministack.services.dynamodb:_replica_group",
    "ministack.services.dynamodb:_table_description",
    "ministack.services.dynamodb:_set_item",
    "ministack.services.dynamodb:_remove_item",
    "ministack.services.dynamodb:_extract_key_val",
    "ministack.services.dynamodb:_ttl_settings",
)

Json = dict[str, Any]
Table = dict[str, Any]

# Our own fields of a table.
_CHANGES = "_localcloud_changes"
_CREATING = "_localcloud_replicas_creating"
# A region that was away for longer gets a deleted item back; AWS keeps such marks for a similar time.
TOMBSTONE_MS_MAX = 24 * 3600 * 1000
_DEFINITION = ("TableName", "KeySchema", "AttributeDefinitions", "StreamSpecification")
_INDEX_DEFINITION = ("IndexName", "KeySchema", "Projection", "ProvisionedThroughput")

# Tables that left their group since this process started: told from tables that a killed region has forgotten.
_left: set[str] = set()
# Set whenever a log grows or a replica is asked for: the replicator waits for it instead of polling.
changed = asyncio.Event()
_emit_upstream = dynamodb._emit_stream_event


def apply() -> None:
    describe = dynamodb._table_description
    dynamodb._delete_table = _noting_who_leaves(dynamodb._delete_table)
    dynamodb._update_table = _noting_who_leaves(dynamodb._update_table)
    dynamodb._emit_stream_event = emit_and_log
    dynamodb._create_replica = remember_replica
    dynamodb._table_description = lambda name: _with_replica_status(describe(name), dynamodb._tables[name])


def _noting_who_leaves(operation: Callable[[Json], Any]) -> Callable[[Json], Any]:
    """DeleteTable, and UpdateTable with a replica's deletion, end the replication for this table."""

    def change(request: Json) -> Any:
        name = dynamodb._normalize_table_name(request.get("TableName"))
        before = _replicas(dynamodb._tables.get(name) or {})
        answer = operation(request)
        if before and not _replicas(dynamodb._tables.get(name) or {}):
            _left.add(name)
            changed.set()
        return answer

    return change


def emit_and_log(name: str, event: str, old: Json | None, new: Json | None, replicate: bool = True) -> None:
    _emit_upstream(name, event, old, new, replicate)
    table = dynamodb._tables.get(name)
    if table and dynamodb._replica_group(table):
        _log_local_write(table, new or old or {})


def remember_replica(_name: str, table: Table, region: str) -> None:
    """Instead of the copy. Items that are there already are to be replicated, too."""
    _left.discard(table["TableName"])
    table[_CREATING] = sorted({*table.get(_CREATING, ()), region})
    for item in _items(table):
        _log_local_write(table, item)
    changed.set()


def replicated_tables() -> dict[str, Json]:
    """Every table that has replicas elsewhere: its definition and the status of each replica."""
    return {
        name: {"definition": _definition(table), "replicas": _replicas(table), "ttl": dynamodb._ttl_settings.get(name)}
        for name, table in dynamodb._tables.items()
        if _replicas(table)
    }


def left_tables() -> list[str]:
    return sorted(_left)


def leave(name: str, peer: str) -> None:
    """`peer` has ended the replication: go on without it."""
    table = dynamodb._tables[name]
    others = [region for region in dynamodb._replica_group(table) if region != peer]
    table["_global_regions"] = others if len(others) > 1 else []


def join(definition: Json, ttl: Json | None, peer: str) -> None:
    """Be the replica of the table that `peer` defines: create it where it is missing, and list `peer` as a replica."""
    name = definition["TableName"]
    _left.discard(name)
    if name not in dynamodb._tables:
        status, _, body = dynamodb._create_table(definition)
        assert status == 200, body
    table = dynamodb._tables[name]
    if ttl:
        dynamodb._ttl_settings[name] = ttl
    if peer not in _replicas(table):
        table["_global_regions"] = sorted({peer, get_region(), *dynamodb._replica_group(table)})
        for item in _items(table):
            _log_local_write(table, item)


def activate(name: str, region: str) -> None:
    """The replica in `region` is there."""
    table = dynamodb._tables[name]
    table[_CREATING] = [each for each in table.get(_CREATING, ()) if each != region]


def changes_after(name: str, sequence: int, limit: int) -> list[Json]:
    """What was written after `sequence`, oldest first; only the last write of each key."""
    table = dynamodb._tables.get(name)
    if table is None:
        return []
    log = _log(table)
    if sequence == 0:
        _forget_old_tombstones(table)
    fresh = []
    for entry in reversed(log["entries"].values()):
        if entry["sequence"] <= sequence:
            break
        fresh.append(entry)
    return [{**entry, "item": _item(table, entry["key"])} for entry in reversed(fresh[-limit:])]


def apply_changes(name: str, changes: list[Json]) -> list[int]:
    """Take over what another region wrote, where it was written last; the times of the changes newer than ours."""
    table = dynamodb._tables[name]
    return [change["at"] for change in changes if _apply_change(name, table, change)]


def _apply_change(name: str, table: Table, change: Json) -> bool:
    key, new, old = change["key"], change["item"], _item(table, change["key"])
    known = _log(table)["entries"].get(_key_id(key))
    if known and (known["at"], known["region"]) >= (change["at"], change["region"]):
        return False
    partition, sort = _key_values(table, key)
    if new is not None:
        dynamodb._set_item(table, partition, sort, new)
    elif old is not None:
        dynamodb._remove_item(table, partition, sort)
    if new is not None or old is not None:
        _emit_upstream(name, _event(old, new), old, new, False)
    _append(table, key, change["at"], change["region"])
    return True


def _event(old: Json | None, new: Json | None) -> str:
    if new is None:
        return "REMOVE"
    return "INSERT" if old is None else "MODIFY"


def _log_local_write(table: Table, item: Json) -> None:
    names = (table["pk_name"], table["sk_name"])
    key = {name: item[name] for name in names if name}
    known = _log(table)["entries"].get(_key_id(key))
    # A write after one that we have seen is later than it, whatever the other region's clock says.
    at = max(int(time.time() * 1000), known["at"] + 1 if known else 0)
    _append(table, key, at, get_region())
    changed.set()


def _append(table: Table, key: Json, at: int, region: str) -> None:
    log = _log(table)
    log["sequence"] += 1
    # Taken out first, so that the entries stay in the order of their sequence.
    log["entries"].pop(_key_id(key), None)
    log["entries"][_key_id(key)] = {"sequence": log["sequence"], "at": at, "region": region, "key": key}


def _forget_old_tombstones(table: Table) -> None:
    entries, oldest = _log(table)["entries"], time.time() * 1000 - TOMBSTONE_MS_MAX
    for key_id in [each for each, entry in entries.items() if entry["at"] < oldest]:
        if _item(table, entries[key_id]["key"]) is None:
            del entries[key_id]


def _log(table: Table) -> Json:
    log: Json = table.setdefault(_CHANGES, {"sequence": 0, "entries": {}})
    return log


def _key_id(key: Json) -> str:
    return json.dumps(key, sort_keys=True)


def _key_values(table: Table, key: Json) -> tuple[str, str]:
    sort = dynamodb._extract_key_val(key[table["sk_name"]]) if table["sk_name"] else "__no_sort__"
    return dynamodb._extract_key_val(key[table["pk_name"]]), sort


def _item(table: Table, key: Json) -> Json | None:
    partition, sort = _key_values(table, key)
    item: Json | None = table["items"].get(partition, {}).get(sort)
    return item


def _items(table: Table) -> list[Json]:
    return [item for sorted_items in table["items"].values() for item in sorted_items.values()]


def _replicas(table: Table) -> dict[str, str]:
    creating = table.get(_CREATING, ())
    regions = (region for region in dynamodb._replica_group(table) if region != get_region())
    return {region: "CREATING" if region in creating else "ACTIVE" for region in regions}


def _with_replica_status(description: Json, table: Table) -> Json:
    for replica in description.get("Replicas", ()):
        replica["ReplicaStatus"] = _replicas(table)[replica["RegionName"]]
    return description


def _definition(table: Table) -> Json:
    """What CreateTable needs to make the same table."""
    definition = {name: table[name] for name in _DEFINITION if table.get(name)}
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        if table.get(kind):
            definition[kind] = [_only(index, _INDEX_DEFINITION) for index in table[kind]]
    billing = (table.get("BillingModeSummary") or {}).get("BillingMode", "PROVISIONED")
    definition["BillingMode"] = billing
    if billing == "PROVISIONED":
        definition["ProvisionedThroughput"] = _only(
            table["ProvisionedThroughput"], ("ReadCapacityUnits", "WriteCapacityUnits")
        )
    else:
        for index in definition.get("GlobalSecondaryIndexes", ()):
            index.pop("ProvisionedThroughput", None)
    return definition


def _only(document: Json, names: tuple[str, ...]) -> Json:
    return {name: document[name] for name in names if name in document}
