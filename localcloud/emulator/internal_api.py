"""What `localcloud.replicator` asks of a region: the network between AWS' regions, as it were. Not an AWS API.

    POST /_localcloud/VERB   a JSON object -> a JSON object

Every answer carries `region` and `epoch`: the epoch changes with every start of the process, and then all that was
agreed on before is to be compared again (the region may have come back from an older snapshot).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from ministack import app
from ministack.core.responses import request_scope

from localcloud.patches import dynamodb_global_table as tables
from localcloud.patches import s3_replication as objects

Json = dict[str, Any]

PREFIX = "/_localcloud/"
ACCOUNT = os.environ.get("MINISTACK_ACCOUNT_ID", "000000000000")
REGION = os.environ.get("MINISTACK_REGION", "us-east-1")
EPOCH = uuid.uuid4().hex


def install() -> None:
    serve = app.app

    async def serve_ours_too(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await _answer(scope["path"].removeprefix(PREFIX), receive, send)
        else:
            await serve(scope, receive, send)

    app.app = serve_ours_too


async def list_tables(_request: Json) -> Json:
    return {"tables": tables.replicated_tables(), "left": tables.left_tables()}


async def join_table(request: Json) -> Json:
    tables.join(request["definition"], request["ttl"], request["peer"])
    return {}


async def leave_table(request: Json) -> Json:
    tables.leave(request["table"], request["peer"])
    return {}


async def activate_replica(request: Json) -> Json:
    tables.activate(request["table"], request["peer"])
    return {}


async def read_changes(request: Json) -> Json:
    """Changes of each table after its cursor. Waits up to `wait_s` for one where there is none."""
    found = _changes(request)
    if not found:
        tables.changed.clear()
        try:
            await asyncio.wait_for(tables.changed.wait(), request["wait_s"])
        except TimeoutError:
            return {"changes": {}}
        found = _changes(request)
    return {"changes": found}


def _changes(request: Json) -> Json:
    found = {name: tables.changes_after(name, after, request["limit"]) for name, after in request["cursors"].items()}
    return {name: changes for name, changes in found.items() if changes}


async def apply_changes(request: Json) -> Json:
    return {"applied": tables.apply_changes(request["table"], request["changes"])}


async def pending_objects(request: Json) -> Json:
    return {"objects": objects.pending(request["limit"])}


async def missing_objects(request: Json) -> Json:
    return {"missing": objects.missing(request["objects"]), "waiting": objects.waiting(request["objects"])}


async def read_object(request: Json) -> Json:
    headers, body = objects.read(request["bucket"], request["key"])
    return {"headers": headers, "body": base64.b64encode(body).decode()}


async def write_object(request: Json) -> Json:
    objects.write_replica(request["bucket"], request["key"], request["headers"], base64.b64decode(request["body"]))
    return {}


async def complete_objects(request: Json) -> Json:
    for each in request["objects"]:
        objects.complete(each["bucket"], each["key"], each["etag"])
    return {}


_VERBS: dict[str, Callable[[Json], Awaitable[Json]]] = {
    "tables/list": list_tables,
    "tables/join": join_table,
    "tables/leave": leave_table,
    "tables/activate": activate_replica,
    "tables/changes": read_changes,
    "tables/apply": apply_changes,
    "objects/pending": pending_objects,
    "objects/missing": missing_objects,
    "objects/read": read_object,
    "objects/write": write_object,
    "objects/complete": complete_objects,
}


async def _answer(verb: str, receive: Any, send: Any) -> None:
    request = json.loads(await _body(receive) or b"{}")
    if verb in _VERBS:
        with request_scope(ACCOUNT, REGION):
            answer = await _VERBS[verb](request)
        status, body = 200, {**answer, "region": REGION, "epoch": EPOCH}
    else:
        status, body = 404, {"error": f"no verb {verb}"}
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def _body(receive: Any) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)
