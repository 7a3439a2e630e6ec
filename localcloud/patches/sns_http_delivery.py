"""An HTTP subscriber that is away for a moment never hears of a message.

Stock: one attempt, without the headers that name the message; a failure is a warning in the log.
AWS: 3 immediate retries, 2 with 1 s between them, 10 with 1 to 20 s, 35 every 20 s; each request carries
x-amz-sns-message-id and x-amz-sns-topic-arn (SNS developer guide, "Message delivery retries", "HTTP/HTTPS headers").
Here: the same order of retries for about two minutes, and the headers. Only answers 2xx count as delivered.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.request
from typing import Any

from ministack.services import sns

NAMES = (
    "ministack.services.sns:_fanout",
    "ministack.services.sns:_deliver_to_http",
    "ministack.services.sns:_send_subscription_confirmation",
    "ministack.services.sns:_http_post_sync",
)

# Immediate, pre-backoff, back-off: what AWS does, ended after two minutes (a laptop's demo is over by then).
RETRY_AFTER_S = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0, 20.0)
ATTEMPT_TIMEOUT_S = 15.0
_log = logging.getLogger("localcloud.sns")


def apply() -> None:
    sns._http_post_sync = post_until_delivered
    sns._deliver_to_http = deliver


async def deliver(endpoint: str, payload: str) -> None:
    """Runs in a thread of its own (`_fanout` starts one per notification), so it may wait."""
    try:
        post_until_delivered(endpoint, payload, "Notification")
    except OSError as error:
        _log.warning("SNS gave up on %s: %s", endpoint, error)


def post_until_delivered(endpoint: str, payload: str, message_type: str) -> int:
    """The answer's status; OSError (the last one) where no attempt succeeded."""
    request = urllib.request.Request(endpoint, payload.encode(), _headers(payload, message_type))  # noqa: S310
    for wait_s in RETRY_AFTER_S:
        try:
            return _attempt(request)
        except OSError as error:
            _log.info("SNS delivery to %s failed: %s", endpoint, error)
            time.sleep(wait_s)
    return _attempt(request)


def _attempt(request: urllib.request.Request) -> int:
    with urllib.request.urlopen(request, timeout=ATTEMPT_TIMEOUT_S) as response:  # noqa: S310
        return int(response.status)


def _headers(payload: str, message_type: str) -> dict[str, str]:
    headers = {"Content-Type": "text/plain; charset=UTF-8", "x-amz-sns-message-type": message_type}
    message = _message(payload)
    if "MessageId" in message:
        headers["x-amz-sns-message-id"] = message["MessageId"]
    if "TopicArn" in message:
        headers["x-amz-sns-topic-arn"] = message["TopicArn"]
    return headers


def _message(payload: str) -> dict[str, Any]:
    """The envelope; nothing where the subscription asks for the raw message."""
    try:
        message = json.loads(payload)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
