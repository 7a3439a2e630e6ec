"""Access control of a recipe: which operations a component may use on which topics.

`accessControl` of a component's configuration, as both nuclei read it: service -> policy id -> operations, resources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

PUBSUB: Final = "aws.greengrass.ipc.pubsub"
MQTT_PROXY: Final = "aws.greengrass.ipc.mqttproxy"
_MODEL: Final = "aws.greengrass#"


def allowed(
    access_control: Mapping[str, Any], service: str, operation: str, resource: str, variables: Mapping[str, str]
) -> bool:
    """Whether any policy of the service names this operation (or `*`) and this resource."""
    policies = access_control.get(service, {}).values()
    return any(
        _names(policy["operations"], operation)
        and any(resource_matches(substitute(pattern, variables), resource) for pattern in policy["resources"])
        for policy in policies
    )


def substitute(pattern: str, variables: Mapping[str, str]) -> str:
    """Put the values of recipe variables such as `{iot:thingName}` into a resource."""
    for name, value in variables.items():
        pattern = pattern.replace("{" + name + "}", value)
    return pattern


def resource_matches(pattern: str, resource: str) -> bool:
    """`*` stands for any characters; `+` and `#` are MQTT's wildcards."""
    return _wildcard(pattern).fullmatch(resource) is not None or topic_matches(pattern, resource)


def topic_matches(topic_filter: str, topic: str) -> bool:
    """MQTT's rule: `+` is one level, `#` is all that follows."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(levels) or level not in ("+", levels[index]):
            return False
    return len(wanted) == len(levels)


def _names(operations: list[str], operation: str) -> bool:
    return "*" in operations or _MODEL + operation in operations


@lru_cache(maxsize=1024)
def _wildcard(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")))
