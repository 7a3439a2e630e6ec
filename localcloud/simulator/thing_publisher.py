"""A plain thing: publishes its own readings, over MQTT with its own certificate, to both regions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from edge_component.legs import Health, Leg, LegLimits
from edge_component.mqtt import MqttEndpoint
from edge_component.transports import MqttTransport
from localcloud.simulator.memory_queue import MemoryQueue
from plantwatch.ports import DeliveryFailed
from plantwatch.telemetry import PAYLOAD_BYTES_MAX, TIMESTAMP_KEY, InvalidReading, RejectionReason

# A thing that publishes once a second survives an outage of an hour.
_ROWS_MAX: Final = 3_600
_LIMITS: Final = LegLimits(in_flight_bytes_max=20_000, publish_timeout_s=10.0, backoff_s=(0.2, 2.0))


class ThingPublisher:
    """`endpoints`: region's role -> where to connect there. Each region has a leg of its own. A context manager."""

    def __init__(
        self, tenant: str, thing: str, endpoints: Mapping[str, MqttEndpoint], *, rows_max: int = _ROWS_MAX
    ) -> None:
        self._queue = MemoryQueue(list(endpoints), rows_max)
        self._transports: dict[str, MqttTransport] = {}
        self._legs: dict[str, Leg] = {}
        for role, endpoint in endpoints.items():
            transport = MqttTransport(
                endpoint,
                tenant=tenant,
                thing=thing,
                ack_timeout_s=_LIMITS.publish_timeout_s,
                backoff_s=_LIMITS.backoff_s,
                on_connection=lambda _, role=role: self._legs[role].wake(),  # type: ignore[misc]
            )
            self._transports[role] = transport
            # A leg that fails has said so in the log; `drain` then returns False, and `health` has the reason.
            self._legs[role] = Leg(role, self._queue, transport, _LIMITS, on_failed=lambda: None)

    def __enter__(self) -> ThingPublisher:
        for role, leg in self._legs.items():
            self._transports[role].start()
            leg.start()
        return self

    def __exit__(self, *_: object) -> None:
        for role, leg in self._legs.items():
            leg.stop()
            leg.join()
            self._transports[role].stop()

    def publish(self, fields: Mapping[str, Any], ts: float | str, *, timeout_s: float = 60.0) -> None:
        """One reading, as the telemetry contract wants it; DeliveryFailed where the queue stays full."""
        payload = json.dumps({TIMESTAMP_KEY: ts, **fields}, separators=(",", ":")).encode()
        self.publish_bytes(payload, timeout_s=timeout_s)

    def publish_bytes(self, payload: bytes, *, timeout_s: float = 60.0) -> None:
        """Any payload, also one that the region will refuse. InvalidReading for one that no broker takes: IoT Core ends
        the connection that sends it, every time."""
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise InvalidReading(RejectionReason.TOO_LARGE, f"{len(payload)} bytes, IoT Core takes {PAYLOAD_BYTES_MAX}")
        if not self._queue.add(payload, timeout_s):
            raise DeliveryFailed(f"the queue is full: {self.health_text()}")
        for leg in self._legs.values():
            leg.wake()

    def drain(self, timeout_s: float) -> bool:
        """Wait until both regions have acknowledged everything; False where they have not in time."""
        return self._queue.wait_empty(timeout_s)

    def health(self) -> dict[str, Health]:
        return {role: leg.health() for role, leg in self._legs.items()}

    def health_text(self) -> str:
        """Each region in a few words: `dr not connected, 12 messages wait: AwsCrtError: ...`."""
        return "; ".join(_in_words(role, health) for role, health in self.health().items())


def _in_words(role: str, health: Health) -> str:
    state = "connected" if health.connected else "not connected"
    error = f": {health.last_error}" if health.last_error else ""
    return f"{role} {state}, {health.queued_rows} messages wait{error}"
