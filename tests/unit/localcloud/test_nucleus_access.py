"""Access control of recipes: services, operations, resources with wildcards and variables."""

from __future__ import annotations

import pytest

from localcloud.nucleus.access import MQTT_PROXY, PUBSUB, allowed, topic_matches

CONTROL = {
    PUBSUB: {"p1": {"operations": ["aws.greengrass#SubscribeToTopic"], "resources": ["plantwatch/telemetry/*"]}},
    MQTT_PROXY: {"p2": {"operations": ["*"], "resources": ["tenants/*/devices/{iot:thingName}/telemetry"]}},
}
VARIABLES = {"iot:thingName": "gateway-1"}


@pytest.mark.parametrize(
    ("service", "operation", "resource", "expected"),
    [
        (PUBSUB, "SubscribeToTopic", "plantwatch/telemetry/+", True),
        (PUBSUB, "PublishToTopic", "plantwatch/telemetry/pump-1", False),
        (PUBSUB, "SubscribeToTopic", "plantwatch/acks", False),
        (MQTT_PROXY, "PublishToIoTCore", "tenants/acme/devices/gateway-1/telemetry", True),
        (MQTT_PROXY, "PublishToIoTCore", "tenants/acme/devices/gateway-2/telemetry", False),
        ("aws.greengrass.ipc.secrets", "GetSecretValue", "x", False),
    ],
)
def test_only_what_a_policy_names_is_allowed(service: str, operation: str, resource: str, expected: bool) -> None:
    assert allowed(CONTROL, service, operation, resource, VARIABLES) is expected


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a/b/c", True),
        ("a/b/c", "a/b", False),
        ("+", "a", True),
    ],
)
def test_wildcards_match_as_in_mqtt(topic_filter: str, topic: str, expected: bool) -> None:
    assert topic_matches(topic_filter, topic) is expected
