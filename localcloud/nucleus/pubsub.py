"""The local bus: PublishToTopic and SubscribeToTopic between the components of one gateway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from localcloud.nucleus.access import topic_matches
from localcloud.nucleus.ipc import Call, Document, InvalidArguments, Reply, SendEvent

Authorize = Callable[[Call, str, str], None]
"""(call, service, resource): raises Unauthorized."""

_EVENT = "SubscriptionResponseMessage"


class _Subscription(NamedTuple):
    component: str
    topic_filter: str
    hears_itself: bool
    send: SendEvent


class LocalBus:
    """Delivers in the order of publication. Nothing is kept for a component that is away."""

    def __init__(self, authorize: Authorize, service: str) -> None:
        self._authorize = authorize
        self._service = service
        self._subscriptions: list[_Subscription] = []

    def subscribe(self, call: Call) -> Reply:
        topic = _topic(call.request, "topic")
        self._authorize(call, self._service, topic)
        hears_itself = call.request.get("receiveMode") != "RECEIVE_MESSAGES_FROM_OTHERS"

        def start(send: SendEvent) -> Callable[[], None]:
            subscription = _Subscription(call.component, topic, hears_itself, send)
            self._subscriptions.append(subscription)
            return lambda: self._subscriptions.remove(subscription)

        return Reply({"topicName": topic}, start)

    def publish(self, call: Call) -> Reply:
        topic = concrete_topic(call.request, "topic")
        self._authorize(call, self._service, topic)
        event = _event(topic, call.request.get("publishMessage") or {})
        for subscription in list(self._subscriptions):
            if self._wants(subscription, call.component, topic):
                subscription.send(_EVENT, event)
        return Reply({})

    @staticmethod
    def _wants(subscription: _Subscription, publisher: str, topic: str) -> bool:
        if not subscription.hears_itself and subscription.component == publisher:
            return False
        return topic_matches(subscription.topic_filter, topic)


def concrete_topic(request: Document, key: str) -> str:
    """The topic of a publication, in which wildcards are not allowed."""
    topic = _topic(request, key)
    if any(character in topic for character in "+#*"):
        raise InvalidArguments(f"{key} must not contain wildcards: {topic}")
    return topic


def _topic(request: Document, key: str) -> str:
    topic = request.get(key)
    if not isinstance(topic, str) or not topic:
        raise InvalidArguments(f"{key} is missing")
    return topic


def _event(topic: str, message: dict[str, Any]) -> Document:
    given = [key for key in ("jsonMessage", "binaryMessage") if message.get(key) is not None]
    if len(given) != 1:
        raise InvalidArguments("publishMessage needs exactly one of jsonMessage and binaryMessage")
    return {given[0]: {"message": message[given[0]].get("message"), "context": {"topic": topic}}}
