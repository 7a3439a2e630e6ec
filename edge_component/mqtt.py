"""One MQTT 5 connection with mutual TLS to one region's IoT Core, on awscrt.

awscrt reconnects by itself, with back-off and jitter. Its own queue is never used: while it is offline a publication
fails at once, and whoever published keeps the payload.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from awscrt import mqtt5
from awsiot import mqtt5_client_builder

from plantwatch.ports import DeliveryFailed

logger = logging.getLogger(__name__)

Done = Callable[[DeliveryFailed | None], None]
"""Called once per publication, from any thread: None when the broker has acknowledged it."""

# Reason codes of a PUBACK from here on are refusals (MQTT 5, 3.4.2.1).
_REFUSED: Final = 0x80


@dataclass(frozen=True, slots=True)
class MqttEndpoint:
    """Where to connect and as whom. `ca_path` holds the certificates that vouch for the broker."""

    host: str
    port: int
    client_id: str
    certificate_path: str
    key_path: str
    ca_path: str


class MqttConnection:
    """Connects on `start`, reconnects until `stop`. `on_connection(True | False)` comes from awscrt's own thread."""

    def __init__(
        self,
        endpoint: MqttEndpoint,
        *,
        on_connection: Callable[[bool], None] = lambda _: None,
        on_message: Callable[[str, bytes], None] = lambda _topic, _payload: None,
        ack_timeout_s: float = 20.0,
        reconnect_s: tuple[float, float] = (0.5, 30.0),
    ) -> None:
        self.endpoint = endpoint
        self.last_error = ""
        self._on_connection = on_connection
        self._on_message = on_message
        self._connected = threading.Event()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._client = self._build(ack_timeout_s, reconnect_s)

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    def start(self) -> None:
        self._client.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        self._stopping.set()
        self._connected.clear()
        self._client.stop()
        self._stopped.wait(timeout_s)

    def wait_connected(self, timeout_s: float) -> bool:
        return self._connected.wait(timeout_s)

    def publish(self, topic: str, payload: bytes, done: Done) -> None:
        """QoS 1. `done` gets DeliveryFailed when offline, refused, or not acknowledged in time."""
        packet = mqtt5.PublishPacket(topic=topic, payload=payload, qos=mqtt5.QoS.AT_LEAST_ONCE)
        self._client.publish(packet).add_done_callback(lambda future: done(_outcome(future)))

    def subscribe(self, topic_filter: str) -> Future[Any]:
        subscription = mqtt5.Subscription(topic_filter=topic_filter, qos=mqtt5.QoS.AT_LEAST_ONCE)
        future: Future[Any] = self._client.subscribe(mqtt5.SubscribePacket(subscriptions=[subscription]))
        return future

    def _build(self, ack_timeout_s: float, reconnect_s: tuple[float, float]) -> Any:
        endpoint = self.endpoint
        return mqtt5_client_builder.mtls_from_path(
            endpoint=endpoint.host,
            port=endpoint.port,
            client_id=endpoint.client_id,
            cert_filepath=endpoint.certificate_path,
            pri_key_filepath=endpoint.key_path,
            ca_filepath=endpoint.ca_path,
            keep_alive_interval_sec=30,
            connack_timeout_ms=10_000,
            ping_timeout_ms=5_000,
            ack_timeout_sec=max(1, round(ack_timeout_s)),
            min_reconnect_delay_ms=round(reconnect_s[0] * 1000),
            max_reconnect_delay_ms=round(reconnect_s[1] * 1000),
            retry_jitter_mode=mqtt5.ExponentialBackoffJitterMode.FULL,
            session_behavior=mqtt5.ClientSessionBehaviorType.CLEAN,
            offline_queue_behavior=mqtt5.ClientOperationQueueBehaviorType.FAIL_ALL_ON_DISCONNECT,
            # The default ("for AWS IoT Core") limits the client itself to 100 publications a second.
            extended_validation_and_flow_control_options=mqtt5.ExtendedValidationAndFlowControlOptions.NONE,
            on_publish_received=lambda data: self._on_message(data.publish_packet.topic, data.publish_packet.payload),
            on_lifecycle_connection_success=lambda _: self._change(connected=True),
            on_lifecycle_connection_failure=lambda data: self._fail(data.exception),
            on_lifecycle_disconnection=lambda data: self._fail(data.exception),
            on_lifecycle_stopped=lambda _: self._stopped.set(),
        )

    def _fail(self, error: Exception) -> None:
        if not self._stopping.is_set():  # else it is our own stop, which awscrt reports as an error too
            self.last_error = f"{type(error).__name__}: {error}"
        self._change(connected=False)

    def _change(self, *, connected: bool) -> None:
        if connected == self._connected.is_set():
            return
        address = f"{self.endpoint.host}:{self.endpoint.port}"
        if connected:
            self._connected.set()
            logger.info("mqtt: %s connected as %s", address, self.endpoint.client_id)
        else:
            self._connected.clear()
            if self._stopping.is_set():
                logger.info("mqtt: %s disconnected", address)
            else:
                logger.warning("mqtt: %s disconnected: %s", address, self.last_error)
        self._on_connection(connected)


def _outcome(future: Future[Any]) -> DeliveryFailed | None:
    error = future.exception()
    if error is not None:
        return DeliveryFailed(f"{type(error).__name__}: {error}")
    puback = future.result().puback
    if puback is not None and puback.reason_code >= _REFUSED:
        return DeliveryFailed(f"refused: {puback.reason_code!r}")
    return None
