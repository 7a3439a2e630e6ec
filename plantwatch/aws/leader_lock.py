"""The Kinesis Client Library's leader lock, read and removed from outside (see `kcl_consumer.leader_lock` for why).

Item `Leader` of the table `{application}-CoordinatorState`; the holder writes a new `recordVersionNumber` as long as it
lives.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from botocore.exceptions import ClientError

from plantwatch.aws.clients import error_code, service_errors

_KEY: Final = {"key": {"S": "Leader"}}
_ABSENT: Final = frozenset({"ResourceNotFoundException", "ConditionalCheckFailedException"})


class Lock(NamedTuple):
    """Who leads, and the number that changes with every sign of life."""

    owner: str
    version: str


class DynamoDbLeaderLock:
    """The lock of one application's workers. `dynamodb` is a boto3 client."""

    def __init__(self, dynamodb: Any, application: str) -> None:
        self._dynamodb = dynamodb
        self._table = f"{application}-CoordinatorState"

    def read(self) -> Lock | None:
        """The lock, or None while nobody holds it (or before the library has made its table)."""
        with service_errors(f"read the leader lock in {self._table}"):
            try:
                answer = self._dynamodb.get_item(TableName=self._table, Key=_KEY, ConsistentRead=True)
            except ClientError as error:
                if error_code(error) in _ABSENT:
                    return None
                raise
        item = answer.get("Item")
        if item is None or "recordVersionNumber" not in item:
            return None
        return Lock(item.get("ownerName", {}).get("S", ""), item["recordVersionNumber"]["S"])

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
