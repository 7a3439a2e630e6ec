"""IoT rules accept kinesis, firehose and s3 actions and never carry them out.

Stock: `_dispatch_rule_action` knows lambda, republish, dynamoDBv2, sns and sqs; it drops any other action with a line
at DEBUG level, and the rule's errorAction hears nothing of it.
AWS: the action runs; where it fails after the service's retries, the errorAction receives the message and the reason
(AWS IoT Core developer guide, "AWS IoT rule actions" and "Error handling (error action)").
Here: the three actions run, with substitution templates in key and partition key, before the publisher's PUBACK: what a
device was told is received is in the stream. A failure goes to the errorAction. Other unknown actions fail loudly.
"""

from __future__ import annotations

import base64
import contextvars
import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ministack.core.responses import request_scope
from ministack.services import firehose, iot, kinesis, s3

NAMES = (
    "ministack.services.iot:_run_rule_actions",
    "ministack.services.iot:_dispatch_rule_action",
    "ministack.services.iot:_eval_select_expr",
    "ministack.services.iot:_rule_message",
    "ministack.services.iot:_MISSING",
    "ministack.services.iot:_RULE_ACTION_RESOURCE_KEYS",
    "ministack.services.kinesis:_put_record",
    "ministack.services.firehose:_put_record",
    "ministack.services.s3:handle_request",
    "ministack.core.responses:request_scope",
)

DISPATCHED_UPSTREAM = frozenset({"lambda", "republish", "dynamoDBv2", "sns", "sqs"})
_TEMPLATE = re.compile(r"\$\{([^}]*)\}")


class ActionFailed(Exception):
    """What the errorAction receives as the failure's reason."""


class Message(NamedTuple):
    """The published message that a rule is working on; substitution templates read from it."""

    topic: str
    payload: bytes
    client_id: str | None


_message: contextvars.ContextVar[Message] = contextvars.ContextVar("rule_message")


def apply() -> None:
    run_rule_actions = iot._run_rule_actions
    dispatch_upstream = iot._dispatch_rule_action

    async def run_remembering_message(
        account: str, region: str, rule: Any, payload: bytes, topic: str = "", client_id: str | None = None
    ) -> None:
        token = _message.set(Message(topic, payload or b"", client_id))
        try:
            await run_rule_actions(account, region, rule, payload, topic, client_id)
        finally:
            _message.reset(token)

    async def dispatch(account: str, region: str, rule_name: str, action: dict[str, Any], event: Any) -> None:
        kind, spec = next(iter(action.items()))
        if kind in DISPATCHED_UPSTREAM:
            await dispatch_upstream(account, region, rule_name, action, event)
            return
        with request_scope(account, region):
            await _carry_out(kind, spec, event)

    iot._run_rule_actions = run_remembering_message
    iot._dispatch_rule_action = dispatch
    iot._RULE_ACTION_RESOURCE_KEYS.update(kinesis=("streamName",), firehose=("deliveryStreamName",), s3=("bucketName",))


async def _carry_out(kind: str, spec: dict[str, Any], event: Any) -> None:
    if kind == "s3":
        await _put_object(spec, event)
    elif kind in _ACTIONS:
        _ACTIONS[kind](spec, event)
    else:
        raise ActionFailed(f"the local cloud does not carry out {kind} actions")


def _put_kinesis_record(spec: dict[str, Any], event: Any) -> None:
    request = {
        "StreamName": spec["streamName"],
        "PartitionKey": substitute(spec.get("partitionKey") or "${newuuid()}"),
        "Data": base64.b64encode(_body(event)).decode(),
    }
    _check(f"kinesis PutRecord to {spec['streamName']}", kinesis._put_record(request))


def _put_firehose_record(spec: dict[str, Any], event: Any) -> None:
    data = base64.b64encode(_body(event) + spec.get("separator", "").encode()).decode()
    request = {"DeliveryStreamName": spec["deliveryStreamName"], "Record": {"Data": data}}
    _check(f"firehose PutRecord to {spec['deliveryStreamName']}", firehose._put_record(request))


async def _put_object(spec: dict[str, Any], event: Any) -> None:
    body = _body(event)
    path = f"/{spec['bucketName']}/{substitute(spec['key'])}"
    headers = {"content-type": "application/json", "content-length": str(len(body)), "host": "s3.localhost"}
    _check(f"s3 PutObject to {path}", await s3.handle_request("PUT", path, headers, body, {}, internal=True))


_ACTIONS: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "kinesis": _put_kinesis_record,
    "firehose": _put_firehose_record,
}


def substitute(template: str) -> str:
    """`${expression}` in an action's parameter, evaluated on the message (undefined where it has no value)."""
    topic, payload, client_id = _message.get()

    def evaluate(match: re.Match[str]) -> str:
        value = iot._eval_select_expr(match.group(1), topic, payload, iot._rule_message(payload), client_id)
        if value is iot._MISSING:
            return "undefined"
        return value if isinstance(value, str) else json.dumps(value)

    return _TEMPLATE.sub(evaluate, template)


def _body(event: Any) -> bytes:
    if isinstance(event, bytes):
        return event
    return (event if isinstance(event, str) else json.dumps(event)).encode()


def _check(what: str, answer: tuple[int, Any, Any]) -> None:
    if answer[0] >= 400:
        raise ActionFailed(f"{what}: {answer[0]} {answer[2][:200]!r}")
