"""A device whose certificate is revoked keeps publishing on the session that it has open.

Stock: UpdateCertificate only changes the registry; a live MQTT session is never looked at again.
AWS: within a few minutes after a certificate has left ACTIVE, all devices that are connected with it are disconnected
(AWS IoT API reference, UpdateCertificate).
Here: leaving ACTIVE, or deleting the certificate, drops its sessions at once.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ministack.services import iot

from localcloud.patches.mqtt_client_certificate import peer_certificate

NAMES = (
    "ministack.services.iot:_handle_certificate",
    "ministack.services.iot:_certificates",
    "ministack.services.iot:_mtls_sessions",
    "ministack.services.iot:_mtls_loop",
)
_PREFIX = "/certificates/"


def apply() -> None:
    handle_certificate = iot._handle_certificate

    def handle_and_drop(method: str, path: str, body: bytes, query: Any) -> Any:
        answer = handle_certificate(method, path, body, query)
        certificate_id = path.removeprefix(_PREFIX)
        if method in {"PUT", "DELETE"} and answer[0] < 400 and not _is_active(certificate_id):
            drop_sessions(certificate_id)
        return answer

    iot._handle_certificate = handle_and_drop


def drop_sessions(certificate_id: str) -> None:
    for writer in list(iot._mtls_sessions):
        certificate = peer_certificate(writer)
        if certificate and hashlib.sha256(certificate).hexdigest() == certificate_id:
            iot._mtls_loop.call_soon_threadsafe(writer.transport.abort)


def _is_active(certificate_id: str) -> bool:
    return (iot._certificates.get(certificate_id) or {}).get("status") == "ACTIVE"
