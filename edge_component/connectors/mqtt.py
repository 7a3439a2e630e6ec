"""A local MQTT broker (3.1.1): each message is one reading, or an array of readings, as the
telemetry contract wants it.

QoS 1 and a session that the broker keeps: what is published while we are away comes after the reconnection. The library
acknowledges a message when it arrives here, not when it is on disk: a crash of this process loses what came within the
last second, unless the publisher numbers (`source`, `seq`) and hears `plantwatch/acks`. A message that comes twice is
one reading only where its publisher numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from awscrt import io, mqtt
from awscrt.exceptions import AwsCrtError

from edge_component.connectors.base import Desk, SourceLost, encoded, timed
from edge_component.connectors.settings import MqttSettings
from plantwatch.telemetry import InvalidReading, checked_name, decode_object

_CONNECT_S: Final = 10.0
_DISCONNECT_S: Final = 1.0
_KEEP_ALIVE_S: Final = 30


class MqttLink:
    """One broker and one topic filter."""

    def __init__(self, settings: MqttSettings) -> None:
        self.reads = f"mqtt {settings.host}:{settings.port} {settings.topic_filter}"
        self._settings = settings
        levels = settings.topic_filter.split("/")
        self._level = -1 if settings.device else levels.index("+")

    async def run(self, desk: Desk) -> None:
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[str] = loop.create_future()

        def lose(why: str) -> None:
            loop.call_soon_threadsafe(lambda: None if lost.done() else lost.set_result(why))

        connection = self._connection(lose)
        try:
            # The callback comes on the library's thread; it must not block, and the inbox does not.
            connection.on_message(lambda topic, payload, **_: self._received(desk, topic, payload))
            await _result(connection.connect())
            subscribed, _ = connection.subscribe(self._settings.topic_filter, mqtt.QoS.AT_LEAST_ONCE)
            await _result(subscribed)
            desk.up()
            raise SourceLost(await lost)
        except AwsCrtError as error:
            raise SourceLost(f"{error.name}: {error.message}") from None
        except TimeoutError:
            raise SourceLost("no answer from the broker") from None
        finally:
            await _disconnect(connection)

    def _connection(self, lose: Callable[[str], None]) -> Any:
        settings = self._settings
        password = Path(settings.password_path).read_text().strip() if settings.password_path else None
        return mqtt.Connection(
            client=mqtt.Client(tls_ctx=_tls(settings)),
            host_name=settings.host,
            port=settings.port,
            client_id=settings.client_id or f"plantwatch-{settings.name}",
            clean_session=False,
            keep_alive_secs=_KEEP_ALIVE_S,
            username=settings.user or None,
            password=password,
            on_connection_interrupted=lambda **told: lose(str(told["error"])),
            # Reconnecting is the connector's: within its time the library does not try.
            reconnect_min_timeout_secs=3600,
            reconnect_max_timeout_secs=3600,
        )

    def _received(self, desk: Desk, topic: str, payload: bytes) -> None:
        device = self._settings.device or topic.split("/")[self._level]
        try:
            checked_name(device)
            payload = encoded(timed(decode_object(payload), desk.now()))
        except InvalidReading:
            # An array, or what is no reading at all: the intake reads the one and refuses the other, with a reason.
            desk.counts["bad_values"] += not payload.lstrip().startswith(b"[")
        desk.hand_raw(device, payload)


def _tls(settings: MqttSettings) -> Any:
    if not settings.ca_path:
        return None
    if settings.certificate_path:
        options = io.TlsContextOptions.create_client_with_mtls_from_path(settings.certificate_path, settings.key_path)
    else:
        options = io.TlsContextOptions()
    options.override_default_trust_store_from_path(ca_filepath=settings.ca_path)
    return io.ClientTlsContext(options)


async def _result(future: Future[Any]) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(future), _CONNECT_S)


async def _disconnect(connection: Any) -> None:
    try:
        await asyncio.wait_for(asyncio.wrap_future(connection.disconnect()), _DISCONNECT_S)
    except (AwsCrtError, TimeoutError):
        return
