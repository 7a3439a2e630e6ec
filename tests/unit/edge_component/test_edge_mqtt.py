"""What the MQTT connection says of itself, by the events of awscrt."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from awsiot import mqtt5_client_builder

from edge_component.mqtt import MqttConnection, MqttEndpoint

ENDPOINT = MqttEndpoint("127.0.0.1", 25399, "pump-1", "a.crt", "a.key", "ca.pem")


class FakeClient:
    """Calls back as awscrt's client does, on the caller's thread."""

    def __init__(self, callbacks: dict[str, Callable[[Any], None]]) -> None:
        self._callbacks = callbacks

    def connect(self) -> None:
        self._callbacks["on_lifecycle_connection_success"](SimpleNamespace())

    def disconnect(self, error: Exception) -> None:
        self._callbacks["on_lifecycle_disconnection"](SimpleNamespace(exception=error))

    def stop(self) -> None:
        self.connect()  # it may succeed just before the client hears of the stop
        self.disconnect(RuntimeError("AWS_ERROR_MQTT5_USER_REQUESTED_STOP"))
        self._callbacks["on_lifecycle_stopped"](SimpleNamespace())


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> list[FakeClient]:
    made: list[FakeClient] = []

    def make(**arguments: Any) -> FakeClient:
        made.append(FakeClient(arguments))
        return made[-1]

    monkeypatch.setattr(mqtt5_client_builder, "mtls_from_path", make)
    return made


def test_our_own_stop_is_no_warning(client: list[FakeClient], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    connection = MqttConnection(ENDPOINT)
    client[0].connect()
    connection.stop()
    assert not connection.connected
    assert connection.last_error == ""
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_lost_connection_is_a_warning_with_its_reason(
    client: list[FakeClient], caplog: pytest.LogCaptureFixture
) -> None:
    changes: list[bool] = []
    connection = MqttConnection(ENDPOINT, on_connection=changes.append)
    client[0].connect()
    client[0].disconnect(RuntimeError("SOCKET_CLOSED"))
    assert changes == [True, False]
    assert not connection.connected
    assert "disconnected: RuntimeError: SOCKET_CLOSED" in caplog.text
