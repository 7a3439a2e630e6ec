"""The HTTP subscriber, asked as SNS asks it, and by the emulated SNS itself."""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from localcloud.processes import ProcessSpec, ProcessTable, free_ports, wait_until
from localcloud.receiver import Inbox, Receiver
from localcloud.region import HOST, REPOSITORY
from tests.region_support import RunningRegion
from tests.threads_support import serving

pytestmark = pytest.mark.component

WITHIN_S = 10.0


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with serving(Receiver(0, Inbox(tmp_path / "alerts.jsonl"))) as running:
        yield running


def post(receiver: Receiver, body: bytes, message_type: str = "Notification") -> int:
    connection = http.client.HTTPConnection(HOST, receiver.server_port, timeout=WITHIN_S)
    try:
        connection.request("POST", "/", body, {"x-amz-sns-message-type": message_type})
        return connection.getresponse().status
    finally:
        connection.close()


def alerts(port: int) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://{HOST}:{port}/alerts", timeout=WITHIN_S) as response:
        received: list[dict[str, Any]] = json.loads(response.read())
    return received


def test_a_notification_is_kept_with_its_message_parsed(receiver: Receiver) -> None:
    envelope = {"Type": "Notification", "MessageId": "m-1", "Subject": "s", "Message": '{"device": "press-1"}'}

    assert post(receiver, json.dumps(envelope).encode()) == HTTPStatus.OK
    (alert,) = alerts(receiver.server_port)
    assert (alert["message_id"], alert["subject"], alert["message"]) == ("m-1", "s", {"device": "press-1"})
    assert alert["headers"]["x-amz-sns-message-type"] == "Notification"
    assert isinstance(alert["received_at"], int)


@pytest.mark.parametrize(
    ("body", "message"), [(b'{"device": "press-1"}', {"device": "press-1"}), (b"plain words", "plain words")]
)
def test_a_raw_message_is_kept_as_it_came(receiver: Receiver, body: bytes, message: Any) -> None:
    post(receiver, body)

    assert [alert["message"] for alert in alerts(receiver.server_port)] == [message]


@pytest.mark.parametrize(
    ("confirmation", "status"),
    [
        (b"no json", HTTPStatus.BAD_REQUEST),
        (b"{}", HTTPStatus.BAD_REQUEST),
        (b'{"SubscribeURL": "http://example.invalid/"}', HTTPStatus.FORBIDDEN),
        (b'{"SubscribeURL": "http://127.0.0.1:9/"}', HTTPStatus.BAD_GATEWAY),
    ],
)
def test_a_false_confirmation_is_refused_and_is_no_alert(
    receiver: Receiver, confirmation: bytes, status: HTTPStatus
) -> None:
    assert post(receiver, confirmation, "SubscriptionConfirmation") == status
    assert alerts(receiver.server_port) == []


def test_an_unknown_path_is_not_found(receiver: Receiver) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://{HOST}:{receiver.server_port}/", timeout=WITHIN_S)


def test_sns_confirms_and_delivers_over_a_restart_of_the_receiver(tmp_path: Path) -> None:
    table, (port,) = ProcessTable(tmp_path), free_ports(1)
    out = tmp_path / "alerts.jsonl"
    command = (sys.executable, "-m", "localcloud.receiver", "--port", str(port), "--out", str(out))
    spec = ProcessSpec("receiver", command, cwd=REPOSITORY, ports=(port,))
    running = RunningRegion(table, tmp_path / "state")
    try:
        running.start()
        table.start(spec)
        wait_until(lambda: "listening" in table.log_tail("receiver"), WITHIN_S, "the receiver listens")
        sns = running.client("sns")
        topic = sns.create_topic(Name="alerts-acme")["TopicArn"]
        sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"http://{HOST}:{port}/")
        wait_until(lambda: _pending(sns, topic) == ["false"], WITHIN_S, "the subscription is confirmed")
        sns.publish(TopicArn=topic, Message='{"incident": 1}')
        wait_until(lambda: len(alerts(port)) == 1, WITHIN_S, "the first alert")
        table.stop("receiver")
        sns.publish(TopicArn=topic, Message='{"incident": 2}')
        table.start(spec)

        wait_until(lambda: out.read_text().count("\n") == 2, WITHIN_S, "the second alert")
        assert [json.loads(line)["message"] for line in out.read_text().splitlines()] == [
            {"incident": 1},
            {"incident": 2},
        ]
    finally:
        table.stop_all()


def _pending(sns: Any, topic: str) -> list[str]:
    subscriptions = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    arns = (each["SubscriptionArn"] for each in subscriptions)
    return [sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["PendingConfirmation"] for arn in arns]
