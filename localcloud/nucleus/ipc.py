"""The IPC server: event-stream RPC 0.1.0 on a Unix socket, one connection per component, many streams in each.

A handler gets a `Call` and gives a `Reply`, at once or as a coroutine (then later calls overtake it, as in the real
nucleus). A reply with a `subscription` keeps its stream open for events; its response always goes out before them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from localcloud.nucleus import eventstream
from localcloud.nucleus.eventstream import HeaderValue, MalformedFrame, Message, MessageFlag, MessageType

logger = logging.getLogger(__name__)

MODEL: Final = "aws.greengrass#"
# A component that stopped reading is cut off before its unread events fill the nucleus's memory.
_UNREAD_BYTES_MAX: Final = 8 * 1024 * 1024

_REFUSED_S: Final = 1.0

Document = dict[str, Any]
SendEvent = Callable[[str, Document], None]
"""Writes one event (model name without prefix, body) into an open stream."""


class IpcError(Exception):
    """An error of the nucleus's model: `code` is its name there."""

    code = "ServiceError"


class ServiceError(IpcError):
    pass


class Unauthorized(IpcError):
    code = "UnauthorizedError"


class InvalidArguments(IpcError):
    code = "InvalidArgumentsError"


class ResourceNotFound(IpcError):
    code = "ResourceNotFoundError"


class Conflict(IpcError):
    code = "ConflictError"


class Call(NamedTuple):
    """One request of one component."""

    component: str
    operation: str
    request: Document


class Reply(NamedTuple):
    """`subscription` starts the events and returns what ends them."""

    body: Document
    subscription: Callable[[SendEvent], Callable[[], None]] | None = None


Handler = Callable[[Call], Reply | Awaitable[Reply]]


class IpcServer:
    """`authenticate` gives the component that a token belongs to, None for no one's."""

    def __init__(
        self, handlers: Mapping[str, Handler], authenticate: Callable[[str], str | None], message_bytes_max: int
    ) -> None:
        self.handlers = handlers
        self.authenticate = authenticate
        self.message_bytes_max = message_bytes_max
        self._connections: set[_Connection] = set()
        self._server: asyncio.AbstractServer | None = None

    async def listen(self, path: Path) -> None:
        self._server = await asyncio.start_unix_server(self._accept, path)

    async def close(self) -> None:
        """Returns when no connection is left."""
        if self._server:
            self._server.close()
        while self._connections:
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0.01)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve()
        except (asyncio.IncompleteReadError, ConnectionError):
            logger.info("ipc: %s disconnected", connection.component)
        except MalformedFrame as error:
            logger.warning("ipc: %s: %s, connection closed", connection.component, error)
        finally:
            connection.close()
            self._connections.discard(connection)


class _Connection:
    def __init__(self, server: IpcServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.component = ""
        self._server = server
        self._reader = reader
        self._writer = writer
        self._closers: dict[int, Callable[[], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        if not await self._connect():
            # The client closes when it has read the refusal; if we closed first, it might never read it.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._reader.read(), _REFUSED_S)
            return
        while True:
            message = await self._receive()
            kind, stream = message.headers[":message-type"], int(message.headers[":stream-id"])
            if kind == MessageType.PING:
                self._send(MessageType.PING_RESPONSE, stream, payload=message.payload)
            elif kind == MessageType.APPLICATION_MESSAGE:
                self._application(stream, message)

    def close(self) -> None:
        for closer in self._closers.values():
            closer()
        self._closers.clear()
        for task in self._tasks:
            task.cancel()
        self._writer.close()

    def abort(self) -> None:
        self._writer.transport.abort()

    async def _receive(self) -> Message:
        prelude = await self._reader.readexactly(eventstream.PRELUDE_BYTES)
        total = eventstream.decode_prelude(prelude).total
        if total > self._server.message_bytes_max:
            raise MalformedFrame(f"message of {total} bytes, at most {self._server.message_bytes_max}")
        rest = await self._reader.readexactly(total - len(prelude))
        message = eventstream.decode(prelude + rest)
        if not {":message-type", ":message-flags", ":stream-id"} <= message.headers.keys():
            raise MalformedFrame("a required header is missing")
        return message

    async def _connect(self) -> bool:
        message = await self._receive()
        if message.headers[":message-type"] != MessageType.CONNECT:
            raise MalformedFrame("the first message is not CONNECT")
        component = self._server.authenticate(_document(message.payload).get("authToken", ""))
        accepted = MessageFlag.CONNECTION_ACCEPTED if component else 0
        self._send(MessageType.CONNECT_ACK, 0, flags=accepted)
        self.component = component or ""
        logger.info("ipc: %s", f"{component} connected" if component else "refused: unknown token")
        return component is not None

    def _application(self, stream: int, message: Message) -> None:
        if int(message.headers[":message-flags"]) & MessageFlag.TERMINATE_STREAM:
            self._end(stream)
            return
        operation = str(message.headers.get("operation", ""))
        try:
            handler = self._server.handlers.get(operation.removeprefix(MODEL))
            if handler is None:
                raise ServiceError(f"Operation {operation} not supported")
            outcome = handler(Call(self.component, operation.removeprefix(MODEL), _document(message.payload)))
        except IpcError as error:
            self._fail(stream, error)
            return
        if isinstance(outcome, Reply):
            self._reply(stream, operation, outcome)
        else:
            self._later(self._reply_when_done(stream, operation, outcome))

    async def _reply_when_done(self, stream: int, operation: str, outcome: Awaitable[Reply]) -> None:
        try:
            self._reply(stream, operation, await outcome)
        except IpcError as error:
            self._fail(stream, error)

    def _reply(self, stream: int, operation: str, reply: Reply) -> None:
        flags = 0 if reply.subscription else MessageFlag.TERMINATE_STREAM
        self._document(MessageType.APPLICATION_MESSAGE, stream, operation + "Response", reply.body, flags)
        if reply.subscription:
            self._closers[stream] = reply.subscription(lambda model, body: self._event(stream, model, body))

    def _event(self, stream: int, model: str, body: Document) -> None:
        if self._writer.transport.get_write_buffer_size() > _UNREAD_BYTES_MAX:
            logger.warning("ipc: %s does not read its events, connection closed", self.component)
            self.abort()
        self._document(MessageType.APPLICATION_MESSAGE, stream, MODEL + model, body)

    def _fail(self, stream: int, error: IpcError) -> None:
        text = str(error)
        body = {"_message": text, "message": text, "_errorCode": error.code}
        flags = MessageFlag.TERMINATE_STREAM
        self._document(MessageType.APPLICATION_ERROR, stream, MODEL + error.code, body, flags)

    def _end(self, stream: int) -> None:
        closer = self._closers.pop(stream, None)
        if closer:
            closer()
            self._send(MessageType.APPLICATION_MESSAGE, stream, flags=MessageFlag.TERMINATE_STREAM)

    def _document(self, kind: MessageType, stream: int, model: str, body: Document, flags: int = 0) -> None:
        payload = json.dumps(body, separators=(",", ":")).encode()
        extra = {":content-type": "application/json", "service-model-type": model}
        self._send(kind, stream, flags=flags, payload=payload, extra=extra)

    def _send(
        self,
        kind: MessageType,
        stream: int,
        *,
        flags: int = 0,
        payload: bytes = b"",
        extra: Mapping[str, HeaderValue] | None = None,
    ) -> None:
        headers = {":message-type": int(kind), ":message-flags": int(flags), ":stream-id": stream, **(extra or {})}
        self._writer.write(eventstream.encode(Message(headers, payload)))

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _document(payload: bytes) -> Document:
    try:
        document = json.loads(payload or b"{}")
    except ValueError:
        raise MalformedFrame("payload is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedFrame("payload is not a JSON object")
    return document
