"""Notifier and ActiveRegion, and how every adapter tells that a service is away or refuses."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from plantwatch.aws.active_region import CACHE_S, SsmActiveRegion
from plantwatch.aws.clients import Refused, client
from plantwatch.aws.detector_states import S3DetectorStates
from plantwatch.aws.lake import S3Lake
from plantwatch.aws.notifier import SnsNotifier
from plantwatch.aws.results import DynamoDbResults
from plantwatch.incident import Alert, Phase
from plantwatch.ports import DeliveryFailed, Notifier
from tests.contract.ports_support import (
    BOTH,
    START,
    alert,
    scored,
)
from tests.fakes import MemoryNotifier
from tests.region_support import RunningRegion

pytestmark = pytest.mark.component


@BOTH
def test_an_alert_reaches_a_queue_with_its_text_and_attributes(kind: str, request: pytest.FixtureRequest) -> None:
    sent = alert(Phase.OPENED)
    if kind == "fake":
        fake = MemoryNotifier()
        notify(fake, sent)
        assert fake.sent == [sent]
        return
    running: RunningRegion = request.getfixturevalue("patched")
    topic, queue = subscribed_queue(running)
    notify(SnsNotifier(running.client("sns"), topic), sent)
    answer = running.client("sqs").receive_message(
        QueueUrl=queue, WaitTimeSeconds=5, MessageAttributeNames=["All"], MaxNumberOfMessages=10
    )
    (message,) = answer["Messages"]
    fields = json.loads(message["Body"])
    assert fields["alert_id"] == sent.alert_id
    assert fields["signals"][0]["signal"] == "vibration"
    assert fields["text"].startswith("pump-7: vibration 4.82 (expected 1.1 to 2.3) since")
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes == {
        "tenant": "acme", "severity": "high", "kind": "process_anomaly", "phase": "opened", "alert_id": sent.alert_id,
    }  # fmt: skip


def notify(notifier: Notifier, sent: Alert) -> None:
    notifier.notify(sent)


def subscribed_queue(running: RunningRegion) -> tuple[str, str]:
    name = f"alerts-{uuid.uuid4().hex[:8]}"
    sns, sqs = running.client("sns"), running.client("sqs")
    topic = sns.create_topic(Name=name)["TopicArn"]
    queue = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
            }
        ],
    }
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    return str(topic), str(queue)


def test_a_region_is_active_when_the_parameter_says_so(patched: RunningRegion) -> None:
    ssm, name, time_s = patched.client("ssm"), f"/plantwatch/{uuid.uuid4().hex[:8]}", [100.0]
    ssm.put_parameter(Name=name, Type="String", Value='{"region": "us-east-1", "epoch": 1}')
    here = SsmActiveRegion(ssm, name, region="us-east-1", monotonic=lambda: time_s[0])
    there = SsmActiveRegion(ssm, name, region="us-west-2", monotonic=lambda: time_s[0])
    assert (here.is_active(), there.is_active()) == (True, False)
    ssm.put_parameter(Name=name, Type="String", Value='{"region": "us-west-2", "epoch": 2}', Overwrite=True)
    time_s[0] += CACHE_S / 2
    assert (here.is_active(), there.is_active()) == (True, False), "from memory"
    time_s[0] += CACHE_S
    assert (here.is_active(), there.is_active()) == (False, True)
    ssm.put_parameter(Name=name, Type="String", Value="us-east-1", Overwrite=True)
    time_s[0] += CACHE_S
    with pytest.raises(Refused, match=name):
        here.is_active()


def test_an_unreachable_service_is_a_failed_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """The endpoint of all tests is a port where nobody listens."""
    monkeypatch.setattr("plantwatch.aws.clients.ATTEMPTS_MAX", 1)
    results, s3, sns, ssm = (client(service) for service in ("dynamodb", "s3", "sns", "ssm"))
    unreachable: list[Callable[[], Any]] = [
        lambda: DynamoDbResults(results, "t").put_anomaly(scored(1)),
        lambda: DynamoDbResults(results, "t").put_transition(alert(Phase.OPENED)),
        lambda: DynamoDbResults(results, "t").mark_notified(alert(Phase.OPENED)),
        lambda: DynamoDbResults(results, "t").put_device_states([scored(1)]),
        lambda: S3Lake(s3, "b", region="r").append([scored(1)], position="p", stored_at=START),
        lambda: S3DetectorStates(s3, "b", application="a", bundle="b").load("s", "1"),
        lambda: SnsNotifier(sns, "arn:aws:sns:us-east-1:000000000000:t").notify(alert(Phase.OPENED)),
        lambda: SsmActiveRegion(ssm, "/p", region="us-east-1").is_active(),
    ]
    for call in unreachable:
        with pytest.raises(DeliveryFailed, match="could not"):
            call()


def test_what_no_retry_mends_is_refused_by_name(patched: RunningRegion) -> None:
    with pytest.raises(Refused, match="no-such-table"):
        DynamoDbResults(patched.client("dynamodb"), "no-such-table").put_anomaly(scored(1))
    with pytest.raises(Refused, match="no-such-bucket"):
        S3Lake(patched.client("s3"), "no-such-bucket", region="r").append([scored(1)], position="p", stored_at=START)
    with pytest.raises(Refused, match="/no/such"):
        SsmActiveRegion(patched.client("ssm"), "/no/such", region="us-east-1").is_active()
