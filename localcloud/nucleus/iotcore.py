"""The MQTT proxy: PublishToIoTCore and SubscribeToIoTCore, carried over one real MQTT connection with mutual TLS.

Success means that the broker has acknowledged. (The real nuclei answer when they have accepted the message; a
component must not rely on either.) Like nucleus lite it has no spooler: offline it fails at once.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Callable
from typing import NamedTuple

from edge_component.mqtt import MqttConnection, MqttEndpoint
from localcloud.nucleus.access import topic_matches
from localcloud.nucleus.ipc import Call, InvalidArguments, Reply, SendEvent, ServiceError
from localcloud.nucleus.profile import Profile
from localcloud.nucleus.pubsub import Authorize, concrete_topic
from plantwatch.ports import DeliveryFailed

logger = logging.getLogger(__name__)


class _Subscription(NamedTuple):
    topic_filter: str
    send: SendEvent


class MqttProxy:
    """Create and start it on the event loop that serves IPC."""

    def __init__(self, endpoint: MqttEndpoint, profile: Profile, authorize: Authorize, service: str) -> None:
        self._profile = profile
        self._authorize = authorize
        self._service = service
        self._subscriptions: list[_Subscription] = []
        self._messages_unacknowledged = 0
        self._bytes_unacknowledged = 0
        self._loop = asyncio.get_running_loop()
        self._connection = MqttConnection(
            endpoint, on_connection=self._connection_changed, on_message=self._arrived, reconnect_s=(0.2, 5.0)
        )

    def start(self) -> None:
        self._connection.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self._connection.stop)

    async def publish(self, call: Call) -> Reply:
        topic = concrete_topic(call.request, "topicName")
        self._authorize(call, self._service, topic)
        payload = _payload(call)
        if not self._connection.connected:
            raise ServiceError("Failed to publish the message: offline.")
        self._reserve(len(payload))
        try:
            error = await self._forward(topic, payload)
        finally:
            self._reserve(-len(payload))
        if error is not None:
            raise ServiceError(f"Failed to publish the message: {error}")
        return Reply({})

    def subscribe(self, call: Call) -> Reply:
        topic_filter = call.request.get("topicName") or ""
        self._authorize(call, self._service, topic_filter)

        def start(send: SendEvent) -> Callable[[], None]:
            subscription = _Subscription(topic_filter, send)
            self._subscriptions.append(subscription)
            self._connection.subscribe(topic_filter)
            return lambda: self._subscriptions.remove(subscription)

        return Reply({}, start)

    async def _forward(self, topic: str, payload: bytes) -> DeliveryFailed | None:
        acknowledged: asyncio.Future[DeliveryFailed | None] = self._loop.create_future()

        def done(error: DeliveryFailed | None) -> None:
            self._loop.call_soon_threadsafe(_settle, acknowledged, error)

        self._connection.publish(topic, payload, done)
        return await acknowledged

    def _reserve(self, size: int) -> None:
        """Count a message in (size > 0) or out; ServiceError where the nucleus has no slot for it."""
        messages = self._messages_unacknowledged + (1 if size > 0 else -1)
        unacknowledged = self._bytes_unacknowledged + size
        if size > 0 and (
            messages > self._profile.iot_messages_unacknowledged_max
            or unacknowledged > self._profile.iot_bytes_unacknowledged_max
        ):
            raise ServiceError("Failed to publish the message: too much is unacknowledged.")
        self._messages_unacknowledged, self._bytes_unacknowledged = messages, unacknowledged

    def _connection_changed(self, connected: bool) -> None:
        if connected:
            for subscription in self._subscriptions:
                self._connection.subscribe(subscription.topic_filter)

    def _arrived(self, topic: str, payload: bytes) -> None:
        self._loop.call_soon_threadsafe(self._deliver, topic, payload)

    def _deliver(self, topic: str, payload: bytes) -> None:
        event = {"message": {"topicName": topic, "payload": base64.b64encode(payload).decode()}}
        for subscription in list(self._subscriptions):
            if topic_matches(subscription.topic_filter, topic):
                subscription.send("IoTCoreMessage", event)


def _payload(call: Call) -> bytes:
    try:
        return base64.b64decode(call.request.get("payload") or "", validate=True) or _refuse_empty()
    except binascii.Error as error:
        raise InvalidArguments(f"payload: {error}") from None


def _refuse_empty() -> bytes:
    raise InvalidArguments("payload is empty")


def _settle(future: asyncio.Future[DeliveryFailed | None], error: DeliveryFailed | None) -> None:
    if not future.done():
        future.set_result(error)
