"""The HTTP subscriber of the alerts: what a customer's pager would be.

Confirms the subscription, as SNS asks, and appends every notification as one JSON line: the message (parsed where it
is JSON), SNS' headers and when it came. `GET /alerts` returns them all.

    python -m localcloud.receiver --port 14580 --out alerts.jsonl
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import urllib.parse
import urllib.request
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

HOST: Final = "127.0.0.1"
# SNS messages are at most 256 kB; the envelope around one adds less than that.
BODY_BYTES_MAX: Final = 512 * 1024
CONFIRM_TIMEOUT_S: Final = 10.0

Json = dict[str, Any]


class Inbox:
    """Notifications in the order of their arrival, each flushed to the file before SNS hears that it is delivered."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("a")
        self._lock = threading.Lock()

    def append(self, notification: Json) -> None:
        with self._lock:
            self._file.write(json.dumps(notification) + "\n")
            self._file.flush()

    def read(self) -> list[Json]:
        with self._lock:
            return [json.loads(line) for line in self._path.read_text().splitlines()]

    def close(self) -> None:
        self._file.close()


class Receiver(ThreadingHTTPServer):
    """Listens on loopback only. Port 0 takes any free one (see `server_port`)."""

    daemon_threads = True

    def __init__(self, port: int, inbox: Inbox) -> None:
        super().__init__((HOST, port), _Handler)
        self.inbox = inbox

    def accept(self, body: bytes, headers: dict[str, str], received_at: int) -> HTTPStatus:
        """One request of SNS: the answer 200 says that we have it."""
        if headers.get("x-amz-sns-message-type") == "SubscriptionConfirmation":
            return confirm(body)
        self.inbox.append(notification(body, headers, received_at))
        return HTTPStatus.OK


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        received_at = int(time.time() * 1000)
        length = int(self.headers.get("content-length", 0))
        if length > BODY_BYTES_MAX:
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._answer(self.server.accept(self.rfile.read(length), headers, received_at))

    def do_GET(self) -> None:
        if self.path != "/alerts":
            self._answer(HTTPStatus.NOT_FOUND)
            return
        self._answer(HTTPStatus.OK, json.dumps(self.server.inbox.read()).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        print(format % args, file=sys.stderr, flush=True)

    def _answer(self, status: HTTPStatus, body: bytes = b"") -> None:
        if status != HTTPStatus.OK:
            # What is left of the request would be taken for the next one.
            self.close_connection = True
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def confirm(body: bytes) -> HTTPStatus:
    """Visit the SubscribeURL of a SubscriptionConfirmation, if it is on this machine."""
    try:
        url = str(json.loads(body)["SubscribeURL"])
    except (ValueError, KeyError, TypeError):
        return HTTPStatus.BAD_REQUEST
    if urllib.parse.urlsplit(url).hostname not in {HOST, "localhost"}:
        return HTTPStatus.FORBIDDEN
    try:
        with urllib.request.urlopen(url, timeout=CONFIRM_TIMEOUT_S):  # noqa: S310 - checked above
            return HTTPStatus.OK
    except OSError as error:
        print(f"confirmation failed: {error}", file=sys.stderr, flush=True)
        return HTTPStatus.BAD_GATEWAY


def notification(body: bytes, headers: dict[str, str], received_at: int) -> Json:
    """One line of the file. With raw message delivery the body is the message, else SNS' envelope is around it."""
    envelope = parsed(body.decode(errors="replace"))
    wrapped = isinstance(envelope, dict) and envelope.get("Type") == "Notification"
    return {
        "received_at": received_at,
        "message_id": envelope.get("MessageId") if wrapped else None,
        "subject": envelope.get("Subject") if wrapped else None,
        "message": parsed(envelope.get("Message", "")) if wrapped else envelope,
        "headers": headers,
    }


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="localcloud.receiver", description="Receive alerts from SNS over HTTP.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, appended")
    arguments = parser.parse_args()
    receiver = Receiver(arguments.port, Inbox(arguments.out))
    print(f"listening on http://{HOST}:{receiver.server_port}", file=sys.stderr, flush=True)
    receiver.serve_forever()


if __name__ == "__main__":
    main()
