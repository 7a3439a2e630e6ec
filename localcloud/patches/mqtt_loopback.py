"""The MQTT listener binds every interface, whatever BIND_HOST says.

Stock: `_mtls_start_locked` passes host="0.0.0.0", so a laptop's broker is open to its network.
Here: the listener binds BIND_HOST, as the HTTP port does.
"""

from __future__ import annotations

import os
from asyncio import base_events
from typing import Any

NAMES = ("ministack.services.iot:_mtls_start_locked", "asyncio.base_events:BaseEventLoop")


def apply() -> None:
    create_server = base_events.BaseEventLoop.create_server
    bind_host = os.environ.get("BIND_HOST", "127.0.0.1")

    async def create_server_on_loopback(
        self: Any, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
    ) -> Any:
        where = bind_host if host == "0.0.0.0" else host
        return await create_server(self, protocol_factory, where, port, **options)

    base_events.BaseEventLoop.create_server = create_server_on_loopback  # type: ignore[method-assign]
