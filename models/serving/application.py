"""The HTTP interface that SageMaker wants of a container, as a WSGI application: it needs no server to be tested.

    GET  /ping                  200: the bundle is loaded and verified (else nobody listens)
    POST /invocations           scores; 400 with one line for a bad request, 413, 415; 503 while there is too much to do
    GET  /execution-parameters  how batch transform shall send its records

A request is answered whole or refused whole.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Any, Final, NamedTuple

from models.serving import formats
from models.serving.formats import InvalidRequest, UnsupportedType
from models.serving.scorer import NEW_SESSION, Scorer, expiry
from plantwatch.telemetry import EpochMs

logger = logging.getLogger(__name__)

SESSION_HEADER: Final = "X-Amzn-SageMaker-Session-Id"
NEW_SESSION_HEADER: Final = "X-Amzn-SageMaker-New-Session-Id"
CLOSED_SESSION_HEADER: Final = "X-Amzn-SageMaker-Closed-Session-Id"
ATTRIBUTES_HEADER: Final = "X-Amzn-SageMaker-Custom-Attributes"
CLOSE_SESSION: Final = "close-session"
"""As custom attributes, with a session: it ends after this request, which may be empty."""
BUNDLE_HEADER: Final = "X-Plantwatch-Bundle"
_TEXT: Final = "text/plain; charset=utf-8"

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Environ = dict[str, Any]


class Refused(Exception):
    """What the caller gets instead of scores: a status and one line."""

    def __init__(self, status: HTTPStatus, problem: str, allow: str = "") -> None:
        super().__init__(problem)
        self.status = status
        self.allow = allow


class Response(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Application:
    """One server's answers. `payload_bytes_max` is what SageMaker sends at most.

    `places` bounds the invocations under way. There is one less than there are threads: a /ping that is not answered
    within 2 s would have a busy container replaced.
    """

    scorer: Scorer
    clock: Callable[[], EpochMs]
    payload_bytes_max: int
    batch: bool = False
    places: threading.Semaphore = field(default_factory=threading.Semaphore)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            response = self._route(environ)
        except Refused as refused:
            response = _refusal(environ, refused)
        headers = [
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            *response.headers,
        ]
        start_response(f"{response.status.value} {response.status.phrase}", headers)
        return [response.body]

    def _route(self, environ: Environ) -> Response:
        path = environ.get("PATH_INFO", "")
        if path not in _ROUTES:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is only {', '.join(_ROUTES)}")
        method, answer = _ROUTES[path]
        if environ["REQUEST_METHOD"] != method:
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{path} takes {method} only", allow=method)
        return answer(self, environ)

    def ping(self, _environ: Environ) -> Response:
        return Response(HTTPStatus.OK, _TEXT, b"", ((BUNDLE_HEADER, self.scorer.bundle.digest),))

    def execution_parameters(self, _environ: Environ) -> Response:
        """One mini-batch at a time, in the file's order: readings of one machine are a stream."""
        parameters = {
            "MaxConcurrentTransforms": 1,
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": self.payload_bytes_max // 2**20,
        }
        return Response(HTTPStatus.OK, formats.JSON, json.dumps(parameters).encode())

    def invocations(self, environ: Environ) -> Response:
        if not self.places.acquire(blocking=False):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once: try again")
        try:
            return self._invocation(environ)
        finally:
            self.places.release()

    def _invocation(self, environ: Environ) -> Response:
        # A batch job's answers are put together line by line.
        default = formats.JSON_LINES if self.batch else formats.JSON
        try:
            kind = formats.answer_type(environ.get("HTTP_ACCEPT", ""), default=default)
        except UnsupportedType as error:
            raise Refused(HTTPStatus.NOT_ACCEPTABLE, str(error)) from None
        body = self._body(environ)
        try:
            return self._scores(environ, body, kind)
        except UnsupportedType as error:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error)) from None
        except InvalidRequest as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None

    def _scores(self, environ: Environ, body: bytes, kind: str) -> Response:
        session, closes = _session(environ)
        headers = [(BUNDLE_HEADER, self.scorer.bundle.digest)]
        answers: list[formats.Answer] = []
        if body or not closes:
            # To the request's end before any stream moves on.
            checked = self.scorer.checked(formats.parse(body, environ.get("CONTENT_TYPE", ""), now=self.clock()))
            if session == NEW_SESSION:
                session, expires_at = self.scorer.open_session()
                headers.append((NEW_SESSION_HEADER, f"{session}; Expires={expiry(expires_at)}"))
            answers = self.scorer.play(checked, session)
        if closes:
            self.scorer.close_session(session)
            headers.append((CLOSED_SESSION_HEADER, session))
        return Response(HTTPStatus.OK, kind, formats.encode(answers, kind), tuple(headers))

    def _body(self, environ: Environ) -> bytes:
        stated = environ.get("CONTENT_LENGTH") or "0"
        if not stated.isdecimal():
            raise Refused(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
        if int(stated) > self.payload_bytes_max:
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{stated} bytes; at most {self.payload_bytes_max} are taken"
            )
        stream: IO[bytes] = environ["wsgi.input"]
        body = stream.read(int(stated))
        if len(body) != int(stated):
            raise Refused(HTTPStatus.BAD_REQUEST, f"{len(body)} bytes came of {stated}")
        return body


def _session(environ: Environ) -> tuple[str, bool]:
    """The session's name, and whether it ends with this request."""
    session = environ.get(_variable(SESSION_HEADER), "")
    closes = environ.get(_variable(ATTRIBUTES_HEADER), "").strip() == CLOSE_SESSION
    if closes and session in {"", NEW_SESSION}:
        raise InvalidRequest(f"{CLOSE_SESSION} needs the name of a session")
    return session, closes


def _refusal(environ: Environ, refused: Refused) -> Response:
    logger.warning("%s %s: %d %s", environ["REQUEST_METHOD"], environ.get("PATH_INFO"), refused.status, refused)
    allow = (("Allow", refused.allow),) if refused.allow else ()
    return Response(refused.status, _TEXT, f"{refused}\n".encode("utf-8", "backslashreplace"), allow)


def _variable(header: str) -> str:
    return "HTTP_" + header.upper().replace("-", "_")


Route = tuple[str, Callable[[Application, Environ], Response]]
_ROUTES: Final[dict[str, Route]] = {
    "/ping": ("GET", Application.ping),
    "/invocations": ("POST", Application.invocations),
    "/execution-parameters": ("GET", Application.execution_parameters),
}
