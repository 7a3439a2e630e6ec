"""Alerts to everyone who subscribed: one SNS message each, with attributes that subscribers can filter by."""

from __future__ import annotations

import json
import time
from typing import Any

from plantwatch.alert_text import alert_fields, alert_subject
from plantwatch.aws.clients import service_errors
from plantwatch.incident import Alert
from plantwatch.telemetry import EpochMs


class SnsNotifier:
    """Notifier on one SNS topic. `sns` is a boto3 client (see `plantwatch.aws.clients`)."""

    def __init__(self, sns: Any, topic_arn: str) -> None:
        self._sns = sns
        self._topic_arn = topic_arn

    def notify(self, alert: Alert) -> None:
        """Publish the alert. A repeat carries the same `alert_id`, by which a subscriber can drop it."""
        attributes = {
            "tenant": alert.tenant,
            "severity": str(alert.severity),
            "kind": str(alert.kind),
            "phase": str(alert.phase),
            "alert_id": alert.alert_id,
        }
        with service_errors(f"publish an alert to {self._topic_arn}"):
            self._sns.publish(
                TopicArn=self._topic_arn,
                Subject=alert_subject(alert),
                Message=json.dumps(alert_fields(alert, now=_now()), separators=(",", ":"), allow_nan=False),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )


def _now() -> EpochMs:
    return time.time_ns() // 1_000_000
