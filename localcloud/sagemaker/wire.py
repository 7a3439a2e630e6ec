"""AWS' two protocols over HTTP, as far as SageMaker speaks them, and its errors.

Control (`sagemaker`): POST / with `X-Amz-Target: SageMaker.OPERATION`, JSON 1.1. Runtime (`sagemaker-runtime`): POST
/endpoints/NAME/invocations, the body as it is. Signatures are not looked at: only this machine can ask.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from localcloud.region import HOST

Json = dict[str, Any]

# A request of 6 MB to an endpoint, and AWS' headers; control requests are far smaller.
BODY_BYTES_MAX: Final = 8 * 2**20
JSON_TYPE: Final = "application/x-amz-json-1.1"
TARGET: Final = "SageMaker."
_INVOCATION_LEVELS: Final = 4


class ServiceError(Exception):
    """An answer that is an error: its code and message as AWS has them. `more` are the error's other members."""

    def __init__(self, code: str, message: str, status: int = HTTPStatus.BAD_REQUEST, **more: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.more = more


class Invocation(NamedTuple):
    """A request to an endpoint: InvokeEndpoint, before anyone has looked at it. Names of headers are lower case."""

    endpoint: str
    headers: Mapping[str, str]
    body: bytes


class Answered(NamedTuple):
    """What a container answered."""

    headers: Mapping[str, str]
    body: bytes


Control = Callable[[str, Json], Json]
"""Operation and parameters to the answer; ServiceError."""
Runtime = Callable[[Invocation], Answered]


class Server(ThreadingHTTPServer):
    """Listens on loopback only. Port 0 takes any free one (see `server_port`)."""

    daemon_threads = True

    def __init__(self, port: int, control: Control, runtime: Runtime) -> None:
        super().__init__((HOST, port), _Handler)
        self.control = control
        self.runtime = runtime


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    # A client that has nothing more to say gives its thread back.
    timeout = 120.0

    def do_POST(self) -> None:
        try:
            body = self._body()
            levels = self.path.partition("?")[0].split("/")
            if len(levels) == _INVOCATION_LEVELS and (levels[1], levels[3]) == ("endpoints", "invocations"):
                self._invoke(Invocation(unquote(levels[2]), self._headers(), body))
            else:
                self._control(body)
        except ServiceError as error:
            self._refuse(error)

    def do_GET(self) -> None:
        """GET /: who is here, for whoever waits until we listen."""
        self._answer(HTTPStatus.OK, {"Content-Type": "application/json"}, b'{"service": "sagemaker"}')

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        print(format % args, file=sys.stderr, flush=True)

    def _control(self, body: bytes) -> None:
        target = self.headers.get("X-Amz-Target", "")
        if not target.startswith(TARGET):
            raise ServiceError("UnknownOperationException", f"no operation of SageMaker: {target[:100]!r}")
        try:
            parameters = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            raise ServiceError("SerializationException", "the request is no JSON") from None
        if not isinstance(parameters, dict):
            raise ServiceError("SerializationException", "the request is no JSON object")
        answer = self.server.control(target.removeprefix(TARGET), parameters)
        self._answer(HTTPStatus.OK, {"Content-Type": JSON_TYPE}, json.dumps(answer).encode())

    def _invoke(self, invocation: Invocation) -> None:
        answered = self.server.runtime(invocation)
        self._answer(HTTPStatus.OK, answered.headers, answered.body)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            # What is left of the request would be taken for the next one.
            self.close_connection = True
            raise ServiceError("RequestEntityTooLarge", f"{length[:20]} bytes", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return self.rfile.read(int(length))

    def _headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items()}

    def _refuse(self, error: ServiceError) -> None:
        print(f"{self.path} {self.headers.get('X-Amz-Target', '')}: {error}", file=sys.stderr, flush=True)
        # One spelling for each of the two protocols.
        body = {"__type": error.code, "message": error.message, "Message": error.message, **error.more}
        headers = {"Content-Type": JSON_TYPE, "x-amzn-ErrorType": error.code}
        self._answer(error.status, headers, json.dumps(body).encode())

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
