"""Anomalies, incidents and device states in one DynamoDB table (see `plantwatch.aws.items` for its keys).

The table is a global table: the active region writes, the other reads. Every write is a conditional put on a key made
of what was observed, so that a repeat changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from plantwatch.aws.clients import error_code, service_errors
from plantwatch.aws.items import (
    Item,
    anomaly_item,
    device_pk,
    incident_item,
    incident_sk,
    notified_name,
    open_item,
    open_sk,
    state_item,
)
from plantwatch.incident import Alert, Kind, Phase
from plantwatch.ports import DeliveryFailed
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import isoformat

# A scorer that restarts cold finds a fault that lasts again within its warm-up, minutes. After an hour of observed time
# a second opening is news: an old incident whose clearing was lost must not silence its machine for ever.
STILL_OPEN_MS: Final = 3600 * 1000
# Device states written at once, for alerts wait behind them. This process works 1 ms on a put that takes the table 5 to
# 10 ms: eight keep it busy, sixteen also a slower table. At 6 ms, 500 states take 0.9 s instead of 4.5 s (measured).
STATE_WRITERS: Final = 16
# Only the active region writes, and there only the holder of the device's shard: more than one race is a zombie's.
_RACES_MAX: Final = 3

_CONDITION_FAILED: Final = "ConditionalCheckFailedException"
_TRANSACTION_CANCELLED: Final = "TransactionCanceledException"
# Two writers met; the loser repeats, and its condition decides.
_TRANSACTION_CONFLICT: Final = "TransactionConflict"


class DynamoDbResults:
    """ResultStore in one table.

    `dynamodb` is a boto3 client (see `plantwatch.aws.clients`), best with `STATE_WRITERS` connections.
    """

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._doing = f"write to the table {table}"

    def put_anomaly(self, scored: ScoredReading) -> bool:
        return self._put_new(anomaly_item(scored))

    def put_transition(self, alert: Alert) -> Alert | None:
        return self._open(alert) if alert.phase is Phase.OPENED else self._clear(alert)

    def mark_notified(self, alert: Alert) -> None:
        self._update(
            _incident_key(alert),
            "SET #notified = :yes",
            {":yes": True},
            condition="attribute_exists(sk)",
            names={"#notified": notified_name(alert.phase)},
        )
        # Only now, so that a repeat of the clearing still finds the incident by its guard.
        if alert.phase is Phase.CLEARED:
            self._free(alert.device, alert.kind, alert.incident_id)

    def put_device_states(self, latest: Sequence[ScoredReading]) -> None:
        """Side by side: each device has one state, so their order means nothing. What failed first is raised."""
        with ThreadPoolExecutor(STATE_WRITERS, "device-states") as writers:
            for _ in writers.map(self._put_state, latest):
                pass  # raises here, which also takes back what is not begun

    def _put_state(self, scored: ScoredReading) -> None:
        self._put_if(
            state_item(scored),
            "attribute_not_exists(sk) OR observed_ms < :observed_ms",
            {":observed_ms": scored.reading.observed_at},
        )

    def _open(self, alert: Alert) -> Alert | None:
        for _ in range(_RACES_MAX):
            known = self._get(_incident_key(alert))
            if known is not None:
                return None if known.get(notified_name(Phase.OPENED)) else alert
            guard = self._get(_key(alert.device, open_sk(alert.kind)))
            if guard is not None and _still_open(guard, alert):
                return None
            if guard is not None:
                self._close(guard["incident_id"], int(guard["first_seen_ms"]), alert)
                self._free(alert.device, alert.kind, guard["incident_id"])
            if self._put_incident(alert):
                return alert
        raise DeliveryFailed(f"could not open an incident in the table {self._table}: other writers came first")

    def _put_incident(self, alert: Alert) -> bool:
        """Guard and incident, both or none; False where another writer came first."""
        puts = [
            {"Put": {"TableName": self._table, "Item": _serialized(item), "ConditionExpression": _IS_NEW}}
            for item in (open_item(alert), incident_item(alert))
        ]
        with service_errors(self._doing):
            try:
                self._dynamodb.transact_write_items(TransactItems=puts)
            except ClientError as error:
                if error_code(error) == _TRANSACTION_CANCELLED and _lost_a_race(error):
                    return False
                raise
        return True

    def _clear(self, alert: Alert) -> Alert | None:
        """Clear the incident, or, where a cold scorer gave it another name, the one of its kind that is open."""
        guard = self._get(_key(alert.device, open_sk(alert.kind)))
        if guard is not None and guard["incident_id"] != alert.incident_id and self._get(_incident_key(alert)) is None:
            alert = alert._replace(incident_id=guard["incident_id"], first_seen=int(guard["first_seen_ms"]))
        cleared = self._close(alert.incident_id, alert.first_seen, alert)
        if cleared is not None and not cleared.get(notified_name(Phase.CLEARED)):
            return alert
        self._free(alert.device, alert.kind, alert.incident_id)
        return None

    def _close(self, incident_id: str, first_seen: int, alert: Alert) -> Item | None:
        """The incident, marked as cleared at the alert's time (unless it was before); None where there is none."""
        return self._update(
            _key(alert.device, incident_sk(first_seen, alert.kind, incident_id)),
            "SET phase = :cleared, cleared_at = if_not_exists(cleared_at, :at)",
            {":cleared": str(Phase.CLEARED), ":at": isoformat(alert.observed_at)},
            condition="attribute_exists(sk)",
        )

    def _free(self, device: str, kind: Kind, incident_id: str) -> None:
        with service_errors(self._doing):
            try:
                self._dynamodb.delete_item(
                    TableName=self._table,
                    Key=_key(device, open_sk(kind)),
                    ConditionExpression="incident_id = :incident_id",
                    ExpressionAttributeValues=_serialized({":incident_id": incident_id}),
                )
            except ClientError as error:
                if error_code(error) != _CONDITION_FAILED:
                    raise

    def _put_new(self, item: Item) -> bool:
        return self._put_if(item, _IS_NEW)

    def _put_if(self, item: Item, condition: str, values: Mapping[str, Any] | None = None) -> bool:
        arguments = {"ExpressionAttributeValues": _serialized(values)} if values else {}
        with service_errors(self._doing):
            try:
                self._dynamodb.put_item(
                    TableName=self._table, Item=_serialized(item), ConditionExpression=condition, **arguments
                )
            except ClientError as error:
                if error_code(error) != _CONDITION_FAILED:
                    raise
                return False
        return True

    def _update(
        self,
        key: Item,
        expression: str,
        values: Mapping[str, Any],
        *,
        condition: str,
        names: Mapping[str, str] | None = None,
    ) -> Item | None:
        """The item as it is now, or None where the condition does not hold."""
        arguments = {"ExpressionAttributeNames": dict(names)} if names else {}
        with service_errors(self._doing):
            try:
                answer = self._dynamodb.update_item(
                    TableName=self._table,
                    Key=key,
                    UpdateExpression=expression,
                    ConditionExpression=condition,
                    ExpressionAttributeValues=_serialized(values),
                    ReturnValues="ALL_NEW",
                    **arguments,
                )
            except ClientError as error:
                if error_code(error) != _CONDITION_FAILED:
                    raise
                return None
        return _deserialized(answer["Attributes"])

    def _get(self, key: Item) -> Item | None:
        with service_errors(f"read from the table {self._table}"):
            answer = self._dynamodb.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return _deserialized(answer["Item"]) if "Item" in answer else None


_IS_NEW: Final = "attribute_not_exists(sk)"
_SERIALIZER: Final = TypeSerializer()
_DESERIALIZER: Final = TypeDeserializer()


def _still_open(guard: Mapping[str, Any], alert: Alert) -> bool:
    return alert.first_seen < int(guard["first_seen_ms"]) + STILL_OPEN_MS


def _incident_key(alert: Alert) -> Item:
    return _key(alert.device, incident_sk(alert.first_seen, alert.kind, alert.incident_id))


def _key(device: str, sk: str) -> Item:
    return _serialized({"pk": device_pk(device), "sk": sk})


def _serialized(item: Mapping[str, Any]) -> Item:
    return {name: _SERIALIZER.serialize(value) for name, value in item.items()}


def _deserialized(item: Mapping[str, Any]) -> Item:
    return {name: _DESERIALIZER.deserialize(value) for name, value in item.items()}


def _lost_a_race(error: ClientError) -> bool:
    reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", ())}
    return bool(reasons & {"ConditionalCheckFailed", _TRANSACTION_CONFLICT}) or "ConditionalCheckFailed" in str(error)
