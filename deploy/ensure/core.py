"""Read, compare, write, report: the same four steps for every kind of resource.

A second run changes nothing, because a run ends only when a fresh read equals what was wanted. A check announces what
a run would change, because both compare the same read with the same wish.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from deploy.ensure.clients import Clients

State = dict[str, Any]
"""What we manage of one resource, as JSON values in a canonical order, so that equal means equal."""

# A role is usable some seconds after IAM has confirmed it; AWS speaks of "several seconds", rarely a minute.
_ROLE_DELAY_S: Final = 60.0
_ROLE_NOT_YET: Final = (
    "cannot be assumed",
    "unable to assume",
    "not able to assume",
    "sts:assumerole",
    "principalnotfound",
    "invalid principal",
)
_POLL_FIRST_S: Final = 0.02
_POLL_LAST_S: Final = 2.0


class EnsureFailed(Exception):
    """A service refused or did not settle. Says which resource, where, and the service's own words."""


class Action(StrEnum):
    NONE = "none"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


class Change(NamedTuple):
    """One field that differs: its path within the resource, what is there, what is wanted (None: not there)."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Outcome:
    """What was done to a resource, or what would be (check). Holds no secret: resources keep those out of State."""

    kind: str
    name: str
    region: str
    action: Action
    changes: tuple[Change, ...] = ()

    @property
    def changed(self) -> bool:
        return self.action is not Action.NONE


class Resource(ABC):
    """One thing that shall exist in a region. Subclasses are frozen dataclasses and hold no client."""

    kind: ClassVar[str]
    # How long the service may take until a read shows what was written.
    settle_s: ClassVar[float] = 60.0
    name: str

    @abstractmethod
    def desired(self) -> State:
        """Every field that we manage. What is not in here belongs to someone else."""

    @abstractmethod
    def read(self, clients: Clients) -> State | None:
        """The managed fields as they are now, None where the resource does not exist."""

    @abstractmethod
    def create(self, clients: Clients) -> None:
        """Make it exist, usable for `update`; fields still missing are then updated like any drift."""

    @abstractmethod
    def update(self, clients: Clients, fields: frozenset[str]) -> None:
        """Write the top-level fields that differ."""

    @abstractmethod
    def delete(self, clients: Clients) -> None:
        """Remove it and what it contains. Called for what exists only."""


def ensure(resource: Resource, clients: Clients, *, check: bool = False) -> Outcome:
    """Make the resource as desired, or only say what that would change."""
    with _naming(resource, clients):
        before, wanted = resource.read(clients), resource.desired()
        changes = tuple(differences(before, wanted))
        action = Action.CREATE if before is None else Action.UPDATE if changes else Action.NONE
        if action is not Action.NONE and not check:
            _converge(resource, clients, before, wanted)
        return Outcome(resource.kind, resource.name, clients.region, action, changes)


def ensure_absent(resource: Resource, clients: Clients, *, check: bool = False) -> Outcome:
    """Remove the resource, or only say what would be lost."""
    with _naming(resource, clients):
        before = resource.read(clients)
        if before is None:
            return Outcome(resource.kind, resource.name, clients.region, Action.NONE)
        if not check:
            resource.delete(clients)
            wait_until(lambda: resource.read(clients) is None, resource.settle_s, "it is gone")
        lost = tuple(Change(field, value, None) for field, value in before.items())
        return Outcome(resource.kind, resource.name, clients.region, Action.DELETE, lost)


def differences(before: State | None, wanted: State) -> Iterator[Change]:
    """The fields that differ, named by path: `policy.Statement[0].Resource`."""
    if before is None:
        yield from (Change(field, None, value) for field, value in wanted.items())
    else:
        yield from _differences("", before, wanted)


def wait_until(condition: Callable[[], bool], deadline_s: float, what: str) -> None:
    """Raises TimeoutError saying `what` did not come true in time."""
    deadline, pause_s = time.monotonic() + deadline_s, _POLL_FIRST_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {deadline_s:.0f} s until {what}")
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, _POLL_LAST_S)


def found(call: Callable[[], Any], *missing: str) -> Any:
    """The answer, or None where the service says one of the codes that mean "does not exist"; any other error,
    AccessDenied above all, is raised."""
    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] in missing:
            return None
        raise


def _converge(resource: Resource, clients: Clients, before: State | None, wanted: State) -> None:
    if before is None:
        _patiently(lambda: resource.create(clients))
        before = resource.read(clients)
    if fields := _fields(before, wanted):
        _patiently(lambda: resource.update(clients, fields))
        _settle(resource, clients, wanted)


def _settle(resource: Resource, clients: Clients, wanted: State) -> None:
    """A service that accepts a write and drops it must not pass for done."""
    seen: list[State | None] = [None]

    def settled() -> bool:
        seen[0] = resource.read(clients)
        return seen[0] == wanted

    try:
        wait_until(settled, resource.settle_s, "what was written can be read")
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {', '.join(sorted(_fields(seen[0], wanted)))}") from None


def _fields(before: State | None, wanted: State) -> frozenset[str]:
    return frozenset(field for field in wanted if before is None or before.get(field) != wanted[field])


def _patiently(write: Callable[[], None]) -> None:
    """Repeat while a role that was just made cannot be assumed yet."""
    deadline, pause_s = time.monotonic() + _ROLE_DELAY_S, 0.5
    while True:
        try:
            return write()
        except ClientError as error:
            message = error.response["Error"].get("Message", "").lower()
            if not any(words in message for words in _ROLE_NOT_YET) or time.monotonic() > deadline:
                raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 8.0)


def _differences(path: str, before: Any, wanted: Any) -> Iterator[Change]:
    if before == wanted:
        return
    if isinstance(before, Mapping) and isinstance(wanted, Mapping):
        for key in sorted(before.keys() | wanted.keys()):
            yield from _differences(f"{path}.{key}" if path else key, before.get(key), wanted.get(key))
    elif isinstance(before, list) and isinstance(wanted, list) and len(before) == len(wanted):
        for index, (have, want) in enumerate(zip(before, wanted, strict=True)):
            yield from _differences(f"{path}[{index}]", have, want)
    else:
        yield Change(path, before, wanted)


@contextmanager
def _naming(resource: Resource, clients: Clients) -> Iterator[None]:
    """Turns a service's error into one that names the resource; the service's words are kept."""
    try:
        yield
    except (ClientError, BotoCoreError, TimeoutError) as error:
        raise EnsureFailed(f"{resource.kind} {resource.name} in {clients.region}: {error}") from error
