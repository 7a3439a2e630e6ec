"""A new application's first leases, as the Kinesis Client Library would write them (see `kcl_consumer.first_start`)."""

from __future__ import annotations

from typing import Any, Final

from botocore.exceptions import ClientError

from plantwatch.aws.clients import error_code, service_errors
from plantwatch.aws.shards import Shard, StreamShards

_FROM_THE_BEGINNING: Final = "TRIM_HORIZON"


class LeaseTable:
    """The library's lease table, which has the application's name. Both arguments are boto3 clients."""

    def __init__(self, dynamodb: Any, kinesis: Any, *, application: str, stream_arn: str) -> None:
        self._dynamodb = dynamodb
        self._table = application
        self._shards = StreamShards(kinesis, stream_arn)

    def is_empty(self) -> bool | None:
        """Whether the table holds no lease; None while there is no table."""
        with service_errors(f"read the lease table {self._table}"):
            try:
                return not self._dynamodb.scan(TableName=self._table, Limit=1, ConsistentRead=True)["Items"]
            except ClientError as error:
                if error_code(error) == "ResourceNotFoundException":
                    return None
                raise

    def shards(self) -> list[Shard]:
        return self._shards.all()

    def add(self, shard: Shard) -> None:
        """A lease that nobody holds, from the beginning of the shard; an existing one stays as it is."""
        item = {
            "leaseKey": {"S": shard.shard_id},
            "leaseCounter": {"N": "0"},
            "checkpoint": {"S": _FROM_THE_BEGINNING},
            "checkpointSubSequenceNumber": {"N": "0"},
            "ownerSwitchesSinceCheckpoint": {"N": "0"},
            "startingHashKey": {"S": shard.first_hash},
            "endingHashKey": {"S": shard.last_hash},
        }
        with service_errors(f"write to the lease table {self._table}"):
            try:
                self._dynamodb.put_item(
                    TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(leaseKey)"
                )
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
