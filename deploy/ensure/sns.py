"""Topics and subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from deploy.ensure.clients import Clients
from deploy.ensure.core import Resource, State, found
from deploy.ensure.documents import managed_tags, policy, tag_list, text


@dataclass(frozen=True)
class Topic(Resource):
    kind: ClassVar[str] = "sns_topic"

    name: str
    arn: str
    policy: Mapping[str, Any]
    tags: Mapping[str, str] = field(default_factory=dict)

    def desired(self) -> State:
        return {"policy": policy(self.policy), "tags": dict(self.tags)}

    def read(self, clients: Clients) -> State | None:
        sns = clients("sns")
        answer = found(lambda: sns.get_topic_attributes(TopicArn=self.arn), "NotFound", "NotFoundException")
        if answer is None:
            return None
        present = sns.list_tags_for_resource(ResourceArn=self.arn)["Tags"]
        return {"policy": policy(answer["Attributes"]["Policy"]), "tags": managed_tags(self.tags, present)}

    def create(self, clients: Clients) -> None:
        clients("sns").create_topic(Name=self.name, Tags=tag_list(self.tags))

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        sns = clients("sns")
        if "policy" in fields:
            sns.set_topic_attributes(TopicArn=self.arn, AttributeName="Policy", AttributeValue=text(self.policy))
        if "tags" in fields:
            sns.tag_resource(ResourceArn=self.arn, Tags=tag_list(self.tags))

    def delete(self, clients: Clients) -> None:
        clients("sns").delete_topic(TopicArn=self.arn)


@dataclass(frozen=True)
class Subscription(Resource):
    """One endpoint of a topic. Subscriptions that people add by hand are theirs.

    An HTTP endpoint confirms by itself; until then AWS shows no attributes of it, and there is nothing to compare.
    """

    kind: ClassVar[str] = "sns_subscription"

    name: str
    topic_arn: str
    protocol: str
    endpoint: str
    raw: bool

    def desired(self) -> State:
        return {"raw_message_delivery": self.raw}

    def read(self, clients: Clients) -> State | None:
        arn = self._arn(clients)
        if arn is None:
            return None
        if not arn.startswith("arn:"):
            return self.desired()
        attributes = clients("sns").get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        return {"raw_message_delivery": attributes.get("RawMessageDelivery", "false") == "true"}

    def create(self, clients: Clients) -> None:
        clients("sns").subscribe(
            TopicArn=self.topic_arn,
            Protocol=self.protocol,
            Endpoint=self.endpoint,
            Attributes={"RawMessageDelivery": str(self.raw).lower()},
            ReturnSubscriptionArn=True,
        )

    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        if "raw_message_delivery" in fields:
            clients("sns").set_subscription_attributes(
                SubscriptionArn=self._arn(clients),
                AttributeName="RawMessageDelivery",
                AttributeValue=str(self.raw).lower(),
            )

    def delete(self, clients: Clients) -> None:
        clients("sns").unsubscribe(SubscriptionArn=self._arn(clients))

    def _arn(self, clients: Clients) -> str | None:
        """An ARN, or the words PendingConfirmation."""
        pages = clients("sns").get_paginator("list_subscriptions_by_topic")
        answer = found(
            lambda: [each for page in pages.paginate(TopicArn=self.topic_arn) for each in page["Subscriptions"]],
            "NotFound",
            "NotFoundException",
        )
        for each in answer or ():
            if (each["Protocol"], each["Endpoint"]) == (self.protocol, self.endpoint):
                return str(each["SubscriptionArn"])
        return None
