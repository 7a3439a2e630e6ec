"""Each component's configuration: the recipe's defaults merged with a deployment's update, read and changed by IPC."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from localcloud.nucleus.ipc import Call, Conflict, InvalidArguments, Reply, ResourceNotFound, SendEvent


class _Watcher(NamedTuple):
    component: str
    key_path: tuple[str, ...]
    send: SendEvent


class Configurations:
    """`as_text`: scalars are handed out as strings, as nucleus lite does."""

    def __init__(self, *, as_text: bool) -> None:
        self._as_text = as_text
        self._values: dict[str, dict[str, Any]] = {}
        self._changed_at: dict[str, float] = {}
        self._watchers: list[_Watcher] = []

    def add(self, component: str, configuration: Mapping[str, Any]) -> None:
        self._values[component] = json.loads(json.dumps(configuration))

    def access_control(self, component: str) -> Mapping[str, Any]:
        control: Mapping[str, Any] = self._values.get(component, {}).get("accessControl", {})
        return control

    def get(self, call: Call) -> Reply:
        component = call.request.get("componentName") or call.component
        path = call.request.get("keyPath") or []
        value: Any = self._values.get(component)
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            raise ResourceNotFound(f"Key not found: {component} {path}")
        value = _as_text(value) if self._as_text else value
        return Reply({"componentName": component, "value": value if isinstance(value, dict) else {path[-1]: value}})

    def update(self, call: Call) -> Reply:
        """A component changes its own configuration. A timestamp older than the last change's is refused."""
        at, value = call.request.get("timestamp"), call.request.get("valueToMerge")
        if not isinstance(at, int | float) or not isinstance(value, dict):
            raise InvalidArguments("timestamp and valueToMerge are needed")
        if at < self._changed_at.get(call.component, 0.0):
            raise Conflict("timestamp is older than the configuration's")
        self._changed_at[call.component] = at
        path = call.request.get("keyPath") or []
        for key in reversed(path):
            value = {key: value}
        self.change(call.component, value)
        return Reply({})

    def change(self, component: str, value: Mapping[str, Any]) -> None:
        """Merge `value`, as a deployment does; watchers get one event per changed leaf."""
        self._values[component] = merge(self._values[component], value)
        for path in _leaves(value):
            for watcher in self._watchers:
                if watcher.component == component and path[: len(watcher.key_path)] == watcher.key_path:
                    event = {"configurationUpdateEvent": {"componentName": component, "keyPath": list(path)}}
                    # Later, so that the response to an update precedes its events.
                    asyncio.get_running_loop().call_soon(watcher.send, "ConfigurationUpdateEvents", event)

    def watch(self, call: Call) -> Reply:
        component = call.request.get("componentName") or call.component
        path = tuple(call.request.get("keyPath") or ())

        def start(send: SendEvent) -> Callable[[], None]:
            watcher = _Watcher(component, path, send)
            self._watchers.append(watcher)
            return lambda: self._watchers.remove(watcher)

        return Reply({}, start)


def merge(base: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """A deployment's MERGE: objects are merged key by key, anything else replaces."""
    merged = dict(base)
    for key, value in update.items():
        before = merged.get(key)
        merged[key] = merge(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged


def _leaves(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    leaves: list[tuple[str, ...]] = []
    for key, item in value.items():
        leaves += _leaves(item, (*path, key)) if isinstance(item, dict) and item else [(*path, key)]
    return leaves


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item) for item in value]
    return value if isinstance(value, str) else json.dumps(value)
