"""Who may send to the topic and the queues."""

from __future__ import annotations

from typing import Any

from deploy.topology import Names


def alerts_topic_policy(names: Names) -> dict[str, Any]:
    """Alerts come from the consumer of this region only; people of the account may subscribe."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "ConsumerPublishes",
                "Effect": "Allow",
                "Principal": {"AWS": names.consumer_role_arn},
                "Action": "SNS:Publish",
                "Resource": names.alerts_topic_arn,
            },
            {
                "Sid": "AccountSubscribes",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{names.account}:root"},
                "Action": ["SNS:GetTopicAttributes", "SNS:ListSubscriptionsByTopic", "SNS:Subscribe"],
                "Resource": names.alerts_topic_arn,
            },
        ],
    }


def alerts_queue_policy(names: Names) -> dict[str, Any]:
    """Only the alerts topic of this account may fill the alerts queue."""
    topic_sends = {
        "Sid": "TopicSends",
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": names.alerts_queue_arn,
        "Condition": {
            "ArnEquals": {"aws:SourceArn": names.alerts_topic_arn},
            "StringEquals": {"aws:SourceAccount": names.account},
        },
    }
    return {"Version": "2012-10-17", "Statement": [topic_sends]}


def rule_errors_queue_policy(names: Names) -> dict[str, Any]:
    """Only the topic rule, by its role, reports what it could not deliver."""
    rule_sends = {
        "Sid": "RuleSends",
        "Effect": "Allow",
        "Principal": {"AWS": names.rule_role_arn},
        "Action": "sqs:SendMessage",
        "Resource": names.rule_errors_queue_arn,
    }
    return {"Version": "2012-10-17", "Statement": [rule_sends]}
