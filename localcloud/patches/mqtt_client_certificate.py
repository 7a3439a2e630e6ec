"""A device without any client certificate is let in.

Stock: `_mtls_resolve_identity` serves a connection without certificate under the default account, even with AUTH=true,
and no policy applies to it.
AWS: MQTT on port 8883 authenticates by client certificate; a connection without a registered, active one is closed
(AWS IoT Core developer guide, "Client authentication").
Here: with AUTH=true the connection is closed without an MQTT answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ministack import app
from ministack.services import iot

NAMES = (
    "ministack.app:AUTH",
    "ministack.services.iot:_mtls_serve_conn",
    "ministack.services.iot:_mtls_close",
)


def apply() -> None:
    serve = iot._mtls_serve_conn

    async def serve_only_with_certificate(reader: asyncio.StreamReader, writer: Any) -> None:
        if app.AUTH and not peer_certificate(writer):
            await iot._mtls_close(writer)
            return
        await serve(reader, writer)

    iot._mtls_serve_conn = serve_only_with_certificate


def peer_certificate(writer: Any) -> bytes | None:
    """The client's certificate (DER) of a live MQTT connection, or None where it showed none."""
    tls = writer.get_extra_info("ssl_object")
    certificate: bytes | None = tls.getpeercert(binary_form=True) if tls is not None else None
    return certificate
