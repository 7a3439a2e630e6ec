"""The Kinesis Client Library's leader lock, read and removed from outside (see `kcl_consumer.leader_lock` for why).

Item `Leader` of the table `{application}-CoordinatorState`. Its holder writes a new `recordVersionNumber` every 30 s,
and its own row of `{application}-WorkerMetricStats` as often as workerMetricsReporterFreqInMillis says (KCL 3.1.3).
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from plantwatch.aws.clients import error_code, service_errors

_KEY: Final = {"key": {"S": "Leader"}}
_ABSENT: Final = frozenset({"ResourceNotFoundException", "ConditionalCheckFailedException"})


class Lock(NamedTuple):
    """Who leads, the lock's version, and when the holder last reported its load (empty where it never did)."""

    owner: str
    version: str
    reported: str


class DynamoDbLeaderLock:
    """The lock of one application's workers. `dynamodb` is a boto3 client."""

    def __init__(self, dynamodb: Any, application: str) -> None:
        self._dynamodb = dynamodb
        self._table = f"{application}-CoordinatorState"
        self._workers_table = f"{application}-WorkerMetricStats"

    def read(self) -> Lock | None:
        """The lock, or None while nobody holds it (or before the library has made its table)."""
        item = self._get(self._table, _KEY)
        if "recordVersionNumber" not in item:
            return None
        owner = item.get("ownerName", {}).get("S", "")
        reported = self._get(self._workers_table, {"wid": {"S": owner}}).get("lut", {}).get("N", "")
        return Lock(owner, item["recordVersionNumber"]["S"], reported)

    def delete(self, lock: Lock) -> bool:
        """Remove exactly this version of the lock; False where its holder was quicker."""
        with service_errors(f"delete the leader lock in {self._table}"):
            try:
                self._dynamodb.delete_item(
                    TableName=self._table,
                    Key=_KEY,
                    ConditionExpression="recordVersionNumber = :version",
                    ExpressionAttributeValues={":version": {"S": lock.version}},
                )
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    return False
                raise
        return True

    def _get(self, table: str, key: dict[str, Any]) -> dict[str, Any]:
        with service_errors(f"read the library's table {table}"):
            try:
                answer = self._dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    return {}
                raise
        return dict(answer.get("Item", {}))
