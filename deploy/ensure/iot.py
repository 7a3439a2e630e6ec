"""The registry: thing types, groups and things, and what devices may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found, wait_until
from deploy.ensure.documents import managed_tags, policy, tag_list, text
from deploy.ensure.sqs import queue_url

_MISSING: Final = "ResourceNotFoundException"
# IoT Core keeps five versions of a policy and refuses a sixth.
_POLICY_VERSIONS_MAX: Final = 5
# A thing type can be deleted five minutes after its deprecation.
_DEPRECATED_FOR_S: Final = 330.0


class BelongsToAnother(Exception):
    """The thing is another tenant's: names of things are one space per account and region."""


@dataclass(frozen=True)
class ThingType(Resource):
    kind: ClassVar[str] = "iot_thing_type"

    name: str
    description: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {"deprecated": False, "tags": dict(self.tags)}

    def read(self, clients: Clients) -> State | None:
        answer = found(lambda: clients("iot").describe_thing_type(thingTypeName=self.name), _MISSING)
        if answer is None:
            return None
        return {
            "deprecated": bool(answer.get("thingTypeMetadata", {}).get("deprecated")),
            "tags": _tags(clients, answer["thingTypeArn"], self.tags),
        }

    def create(self, clients: Clients) -> None:
        properties = {"thingTypeDescription": self.description}
        clients("iot").create_thing_type(
            thingTypeName=self.name, thingTypeProperties=properties, tags=tag_list(self.tags)
        )

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        iot = clients("iot")
        if "deprecated" in fields:
            iot.deprecate_thing_type(thingTypeName=self.name, undoDeprecate=True)
        if "tags" in fields:
            arn = iot.describe_thing_type(thingTypeName=self.name)["thingTypeArn"]
            iot.tag_resource(resourceArn=arn, tags=tag_list(self.tags))

    def delete(self, clients: Clients) -> None:
        iot = clients("iot")
        iot.deprecate_thing_type(thingTypeName=self.name)
        too_early = "InvalidRequestException"
        wait_until(
            lambda: found(lambda: iot.delete_thing_type(thingTypeName=self.name), too_early) is not None,
            _DEPRECATED_FOR_S,
            "it was deprecated for five minutes",
        )


@dataclass(frozen=True)
class ThingGroup(Resource):
    kind: ClassVar[str] = "iot_thing_group"

    name: str
    description: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {"description": self.description, "tags": dict(self.tags)}

    def read(self, clients: Clients) -> State | None:
        answer = found(lambda: clients("iot").describe_thing_group(thingGroupName=self.name), _MISSING)
        if answer is None:
            return None
        return {
            "description": answer.get("thingGroupProperties", {}).get("thingGroupDescription"),
            "tags": _tags(clients, answer["thingGroupArn"], self.tags),
        }

    def create(self, clients: Clients) -> None:
        clients("iot").create_thing_group(
            thingGroupName=self.name, thingGroupProperties=self._properties(), tags=tag_list(self.tags)
        )

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        iot = clients("iot")
        if "description" in fields:
            iot.update_thing_group(thingGroupName=self.name, thingGroupProperties=self._properties())
        if "tags" in fields:
            arn = iot.describe_thing_group(thingGroupName=self.name)["thingGroupArn"]
            iot.tag_resource(resourceArn=arn, tags=tag_list(self.tags))

    def delete(self, clients: Clients) -> None:
        clients("iot").delete_thing_group(thingGroupName=self.name)

    def _properties(self) -> dict[str, str]:
        return {"thingGroupDescription": self.description}


@dataclass(frozen=True)
class Thing(Resource):
    """One entry of the registry. `attributes` has at least `tenant`; attributes that others set stay."""

    kind: ClassVar[str] = "iot_thing"

    name: str
    thing_type: str
    group: str
    attributes: Mapping[str, str]

    def desired(self) -> State:
        return {"attributes": dict(self.attributes), "groups": [self.group], "type": self.thing_type}

    def read(self, clients: Clients) -> State | None:
        answer = found(lambda: clients("iot").describe_thing(thingName=self.name), _MISSING)
        if answer is None:
            return None
        attributes = answer.get("attributes", {})
        if (owner := attributes.get("tenant", self.attributes["tenant"])) != self.attributes["tenant"]:
            raise BelongsToAnother(f"thing {self.name} in {clients.region} belongs to tenant {owner}")
        return {
            "attributes": {name: attributes[name] for name in self.attributes if name in attributes},
            "groups": [self.group] if self._in_group(clients) else [],
            "type": answer.get("thingTypeName"),
        }

    def create(self, clients: Clients) -> None:
        clients("iot").create_thing(
            thingName=self.name,
            thingTypeName=self.thing_type,
            attributePayload={"attributes": dict(self.attributes)},
        )

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        iot = clients("iot")
        if fields & {"attributes", "type"}:
            payload = {"attributes": dict(self.attributes), "merge": True}
            iot.update_thing(thingName=self.name, thingTypeName=self.thing_type, attributePayload=payload)
        if "groups" in fields:
            iot.add_thing_to_thing_group(thingGroupName=self.group, thingName=self.name)

    def delete(self, clients: Clients) -> None:
        clients("iot").delete_thing(thingName=self.name)

    def _in_group(self, clients: Clients) -> bool:
        pages = clients("iot").get_paginator("list_thing_groups_for_thing").paginate(thingName=self.name)
        return any(each["groupName"] == self.group for page in pages for each in page["thingGroups"])


@dataclass(frozen=True)
class DevicePolicy(Resource):
    kind: ClassVar[str] = "iot_policy"

    name: str
    document: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {"document": policy(self.document), "tags": dict(self.tags)}

    def read(self, clients: Clients) -> State | None:
        answer = found(lambda: clients("iot").get_policy(policyName=self.name), _MISSING)
        if answer is None:
            return None
        return {
            "document": policy(answer["policyDocument"]),
            "tags": _tags(clients, answer["policyArn"], self.tags),
        }

    def create(self, clients: Clients) -> None:
        clients("iot").create_policy(policyName=self.name, policyDocument=text(self.document), tags=tag_list(self.tags))

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        iot = clients("iot")
        if "document" in fields:
            self._make_room(iot)
            iot.create_policy_version(policyName=self.name, policyDocument=text(self.document), setAsDefault=True)
        if "tags" in fields:
            arn = iot.get_policy(policyName=self.name)["policyArn"]
            iot.tag_resource(resourceArn=arn, tags=tag_list(self.tags))

    def delete(self, clients: Clients) -> None:
        iot = clients("iot")
        for target in _targets(iot, self.name):
            iot.detach_policy(policyName=self.name, target=target)
        for version in self._superseded(iot):
            iot.delete_policy_version(policyName=self.name, policyVersionId=version)
        iot.delete_policy(policyName=self.name)

    def _make_room(self, iot: Any) -> None:
        superseded = self._superseded(iot)
        if len(superseded) >= _POLICY_VERSIONS_MAX - 1:
            iot.delete_policy_version(policyName=self.name, policyVersionId=superseded[0])

    def _superseded(self, iot: Any) -> list[str]:
        """Versions that are not the default, oldest first."""
        versions = iot.list_policy_versions(policyName=self.name)["policyVersions"]
        return sorted((each["versionId"] for each in versions if not each["isDefaultVersion"]), key=int)


@dataclass(frozen=True)
class TopicRule(Resource):
    """`actions` as IoT Core takes them, one action per item; what fails goes to the queue named `error_queue`."""

    kind: ClassVar[str] = "iot_topic_rule"

    name: str
    arn: str
    description: str
    sql: str
    actions: tuple[Mapping[str, Any], ...]
    error_queue: str
    error_role_arn: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {**self._payload(self.error_queue), "tags": dict(self.tags)}

    def read(self, clients: Clients) -> State | None:
        """Through the list: GetTopicRule says Unauthorized of a rule that does not exist."""
        iot = clients("iot")
        pages = iot.get_paginator("list_topic_rules").paginate()
        if not any(each["ruleName"] == self.name for page in pages for each in page["rules"]):
            return None
        rule = iot.get_topic_rule(ruleName=self.name)["rule"]
        error_action = rule.get("errorAction") or {}
        if "sqs" in error_action:
            error_action = {"sqs": self._with_queue_name(clients, error_action["sqs"])}
        return {
            **{name: rule.get(name) for name in self._payload("")},
            "errorAction": error_action,
            "tags": _tags(clients, self.arn, self.tags),
        }

    def create(self, clients: Clients) -> None:
        tags = "&".join(f"{name}={value}" for name, value in sorted(self.tags.items()))
        payload = self._payload(queue_url(clients, self.error_queue))
        clients("iot").create_topic_rule(ruleName=self.name, topicRulePayload=payload, tags=tags)

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        iot = clients("iot")
        if fields - {"tags"}:
            payload = self._payload(queue_url(clients, self.error_queue))
            iot.replace_topic_rule(ruleName=self.name, topicRulePayload=payload)
        if "tags" in fields:
            iot.tag_resource(resourceArn=self.arn, tags=tag_list(self.tags))

    def delete(self, clients: Clients) -> None:
        clients("iot").delete_topic_rule(ruleName=self.name)

    def _payload(self, queue: str | None) -> dict[str, Any]:
        return {
            "actions": [dict(action) for action in self.actions],
            "awsIotSqlVersion": "2016-03-23",
            "description": self.description,
            "errorAction": {"sqs": {"queueUrl": queue, "roleArn": self.error_role_arn, "useBase64": False}},
            "ruleDisabled": False,
            "sql": self.sql,
        }

    def _with_queue_name(self, clients: Clients, action: Mapping[str, Any]) -> dict[str, Any]:
        """Our queue's URL is known once the queue exists: it is compared by name, any other one as it is."""
        ours = action["queueUrl"] == queue_url(clients, self.error_queue)
        return {
            "queueUrl": self.error_queue if ours else action["queueUrl"],
            "roleArn": action["roleArn"],
            "useBase64": bool(action.get("useBase64")),
        }


def _targets(iot: Any, policy_name: str) -> list[str]:
    pages = iot.get_paginator("list_targets_for_policy").paginate(policyName=policy_name)
    return [target for page in pages for target in page["targets"]]


def _tags(clients: Clients, arn: str, wanted: Mapping[str, str]) -> dict[str, str]:
    pages = clients("iot").get_paginator("list_tags_for_resource").paginate(resourceArn=arn)
    return managed_tags(wanted, [each for page in pages for each in page["tags"]])
