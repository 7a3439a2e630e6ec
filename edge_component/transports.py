"""How a leg reaches its region: through the nucleus, or over a connection of its own."""

from __future__ import annotations

from collections.abc import Callable

from edge_component.mqtt import MqttConnection, MqttEndpoint
from edge_component.nucleus import Nucleus
from plantwatch.ports import DeliveryFailed
from plantwatch.telemetry import telemetry_topic


class IpcTransport:
    """PublishToIoTCore: the nucleus's own connection, in the region where the gateway is registered as a core."""

    last_error = ""

    def __init__(self, nucleus: Nucleus, *, tenant: str, gateway: str) -> None:
        self._nucleus = nucleus
        self._topic = telemetry_topic(tenant, gateway)

    @property
    def connected(self) -> bool:
        """To the nucleus. Whether that is online shows only when it refuses a message."""
        return self._nucleus.connected

    def publish(self, payload: bytes, done: Callable[[DeliveryFailed | None], None]) -> None:
        self._nucleus.publish_iot_core(self._topic, payload, done)


class MqttTransport:
    """An MQTT 5 connection of its own, with this thing's certificate."""

    def __init__(
        self,
        endpoint: MqttEndpoint,
        *,
        tenant: str,
        thing: str,
        ack_timeout_s: float,
        backoff_s: tuple[float, float],
        on_connection: Callable[[bool], None],
    ) -> None:
        self._topic = telemetry_topic(tenant, thing)
        self._connection = MqttConnection(
            endpoint, on_connection=on_connection, ack_timeout_s=ack_timeout_s, reconnect_s=backoff_s
        )

    @property
    def connected(self) -> bool:
        return self._connection.connected

    @property
    def last_error(self) -> str:
        return "" if self._connection.connected else self._connection.last_error

    def start(self) -> None:
        self._connection.start()

    def stop(self) -> None:
        self._connection.stop()

    def publish(self, payload: bytes, done: Callable[[DeliveryFailed | None], None]) -> None:
        self._connection.publish(self._topic, payload, done)
