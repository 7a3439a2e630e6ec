"""What a device is told is received in the last moment before a stop is lost.

Stock: at the end (SIGTERM) the state is saved first and the MQTT listener closed afterwards; a message that arrives in
between is acknowledged and goes nowhere.
AWS: an acknowledged QoS 1 message is stored.
Here: the listener and all sessions are closed before the state is saved. What was not acknowledged the device sends
again.
"""

from __future__ import annotations

from typing import Any

from ministack import app
from ministack.services import iot

NAMES = (
    "ministack.app:save_all",
    "ministack.services.iot:_mtls_server",
    "ministack.services.iot:_mtls_sessions",
)


def apply() -> None:
    save_all = app.save_all

    def stop_broker_then_save(services: Any) -> None:
        if iot._mtls_server is not None:
            iot._mtls_server.close()
        for writer in list(iot._mtls_sessions):
            writer.transport.abort()
        save_all(services)

    app.save_all = stop_broker_then_save
