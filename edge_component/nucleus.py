"""The Greengrass nucleus, as this component uses it: local topics, IoT Core, configuration, state.

On `awsiot.greengrasscoreipc.clientv2` with `executor=None`: its default thread pool delivers events out of order. So
callbacks run on awscrt's own thread and must never block. Every call has a time limit. The client does not reconnect;
`on_lost` says when the connection is gone, and after a restart of the nucleus the old token is refused for good.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

from awsiot import eventstreamrpc
from awsiot.greengrasscoreipc import clientv2, connect, model

from plantwatch.ports import DeliveryFailed

logger = logging.getLogger(__name__)

# A loaded gateway needs more than the client's ten seconds to accept a connection.
_CONNECT_TIMEOUT_S: Final = 30.0
_CALL_TIMEOUT_S: Final = 10.0

Payload = bytes | dict[str, Any]
OnMessage = Callable[[str, Payload], None]
"""(topic, payload): a binary message's bytes or a JSON message's object."""


class NucleusUnavailable(Exception):
    """The nucleus cannot be reached or refuses this component: exit, and it will launch us with a new token."""


@dataclass(frozen=True, slots=True)
class NucleusAddress:
    """The nucleus's socket and this component's token, from the environment that the nucleus gives."""

    socket: str
    token: str


class _Lifecycle(eventstreamrpc.LifecycleHandler):
    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost

    def on_disconnect(self, reason: Exception | None) -> None:
        if reason is not None:  # None: we closed it ourselves
            logger.warning("nucleus: disconnected: %s", describe(reason))
            self._on_lost()

    def on_error(self, error: Exception) -> bool:
        logger.warning("nucleus: %s", describe(error))
        return True


class Nucleus:
    """One connection. Methods that wait raise NucleusUnavailable."""

    def __init__(self, address: NucleusAddress, *, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._connected = True
        try:
            client = connect(
                ipc_socket=address.socket,
                authtoken=address.token,
                lifecycle_handler=_Lifecycle(self._lost),
                timeout=_CONNECT_TIMEOUT_S,
            )
        except Exception as error:  # awscrt raises its own and concurrent.futures' errors
            raise NucleusUnavailable(f"cannot connect: {describe(error)}") from error
        self._client = clientv2.GreengrassCoreIPCClientV2(client=client, executor=None)

    @property
    def connected(self) -> bool:
        return self._connected

    def close(self) -> None:
        self._connected = False
        try:
            self._client.close().result(_CALL_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - the future carries whatever closed the connection
            logger.info("nucleus: closed: %s", describe(error))

    def configuration(self) -> Mapping[str, Any]:
        """This component's whole configuration. Scalars may be strings (nucleus lite)."""
        value: Mapping[str, Any] = self._wait(lambda: self._client.get_configuration_async(key_path=[])).value
        return value

    def watch_configuration(self, on_change: Callable[[], None]) -> None:
        """One call per changed key: the listener reads the whole again."""
        self._wait(
            lambda: self._client.subscribe_to_configuration_update_async(
                key_path=[], on_stream_event=lambda _: on_change(), on_stream_error=_log_stream_error
            )[0]
        )

    def subscribe(self, topic_filter: str, on_message: OnMessage) -> None:
        self._wait(
            lambda: self._client.subscribe_to_topic_async(
                topic=topic_filter,
                on_stream_event=lambda event: _deliver(event, on_message),
                on_stream_error=_log_stream_error,
            )[0]
        )

    def report_running(self) -> None:
        self._wait(lambda: self._client.update_state_async(state=model.ReportedLifecycleState.RUNNING))

    def publish_local(self, topic: str, payload: bytes, done: Callable[[DeliveryFailed | None], None]) -> None:
        """To other components on this gateway. `done` is called once, from any thread."""
        message = model.PublishMessage(binary_message=model.BinaryMessage(message=payload))
        self._publish(lambda: self._client.publish_to_topic_async(topic=topic, publish_message=message), done)

    def publish_iot_core(self, topic: str, payload: bytes, done: Callable[[DeliveryFailed | None], None]) -> None:
        """To the cloud, QoS 1. Success means that the nucleus has accepted the message."""
        self._publish(
            lambda: self._client.publish_to_iot_core_async(
                topic_name=topic, qos=model.QOS.AT_LEAST_ONCE, payload=payload
            ),
            done,
        )

    def _publish(self, call: Callable[[], Future[Any]], done: Callable[[DeliveryFailed | None], None]) -> None:
        try:
            future = call()
        except Exception as error:  # noqa: BLE001 - eventstreamrpc raises RuntimeError, awscrt its own
            done(DeliveryFailed(describe(error)))
        else:
            future.add_done_callback(lambda finished: done(_failure(finished)))

    def _wait(self, call: Callable[[], Future[Any]]) -> Any:
        """The call raises at once where the connection is gone already, its future where it goes meanwhile."""
        try:
            return call().result(_CALL_TIMEOUT_S)
        except Exception as error:
            raise NucleusUnavailable(describe(error)) from error

    def _lost(self) -> None:
        self._connected = False
        self._on_lost()


def describe(error: BaseException) -> str:
    """Type and text: modelled errors of the nucleus keep their text in `message` and are empty as `str`."""
    text = getattr(error, "message", None) or str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _failure(future: Future[Any]) -> DeliveryFailed | None:
    error = future.exception()
    return None if error is None else DeliveryFailed(describe(error))


def _deliver(event: Any, on_message: OnMessage) -> None:
    message = event.binary_message or event.json_message
    if message is not None:
        on_message(message.context.topic, message.message)


def _log_stream_error(error: Exception) -> bool:
    logger.warning("nucleus: subscription: %s", describe(error))
    return False
