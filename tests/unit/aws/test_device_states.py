"""The states of many devices are written side by side, and a failure is told as before."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.exceptions import ClientError

from plantwatch.aws.clients import Refused
from plantwatch.aws.results import STATE_WRITERS, DynamoDbResults
from plantwatch.ports import DeliveryFailed
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import Reading


def states(count: int) -> list[ScoredReading]:
    return [ScoredReading(Reading("acme", f"pump-{n}", 1000, 1000, {"speed": 1.0}), 0.0) for n in range(count)]


class Table:
    """A DynamoDB client whose `put_item` runs `answer`."""

    def __init__(self, answer: Any) -> None:
        self.put: list[str] = []
        self._answer = answer

    def put_item(self, **arguments: Any) -> None:
        self._answer(arguments["Item"]["device"]["S"])
        self.put.append(arguments["Item"]["device"]["S"])


def service_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "PutItem")


def test_states_are_written_side_by_side_and_each_once() -> None:
    # Each write waits until as many as there are writers are under way: one after the other none would ever end.
    together = threading.Barrier(STATE_WRITERS)
    table = Table(lambda _: together.wait(timeout=10))
    DynamoDbResults(table, "results").put_device_states(states(3 * STATE_WRITERS))
    assert sorted(table.put) == sorted(f"pump-{n}" for n in range(3 * STATE_WRITERS))


def test_no_device_is_no_call() -> None:
    table = Table(lambda _: pytest.fail("called"))
    DynamoDbResults(table, "results").put_device_states([])
    assert table.put == []


@pytest.mark.parametrize(
    ("code", "raised"), [("ProvisionedThroughputExceededException", DeliveryFailed), ("AccessDeniedException", Refused)]
)
def test_one_failure_is_the_failure_of_all_and_the_rest_is_not_begun(code: str, raised: type[Exception]) -> None:
    calls: list[str] = []

    def fail(device: str) -> None:
        calls.append(device)
        raise service_error(code)

    table = Table(fail)
    with pytest.raises(raised, match="results"):
        DynamoDbResults(table, "results").put_device_states(states(500))
    assert len(calls) < 500


def test_a_newer_state_in_the_table_is_no_failure() -> None:
    def newer(device: str) -> None:
        if device == "pump-1":
            raise service_error("ConditionalCheckFailedException")

    table = Table(newer)
    DynamoDbResults(table, "results").put_device_states(states(3))
    assert sorted(table.put) == ["pump-0", "pump-2"]
