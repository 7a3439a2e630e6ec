"""Which version of a model is where: immutable bundles by digest, and stages per tenant and machine type.

    TENANT/MACHINE_TYPE/versions/DIGEST.bundle     written once, never replaced
    TENANT/MACHINE_TYPE/stages.json                replaced under the condition that nobody else did meanwhile

A version is pushed as `candidate`, runs beside the old one as `shadow`, and only from there becomes `production`.
`revert` gives production back to the version before. Every step keeps who took it, when, and why.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

from models.authors import checked_author, checked_comment
from models.stores import ObjectStore
from plantwatch.ports import DeliveryFailed
from plantwatch.telemetry import EpochMs, InvalidReading, checked_name, isoformat, parse_timestamp

_SCHEMA: Final = 1
_DIGEST = re.compile(r"[0-9a-f]{16,64}")
# Two people at once are a race; a fifth writer in a row is something that loops.
_RACES_MAX: Final = 5
# A promotion a week for a century; at 300 B each the document stays below 2 MB.
HISTORY_MAX: Final = 5_000


class Stage(StrEnum):
    """Where a version is on its way; at most one version in each."""

    CANDIDATE = "candidate"
    SHADOW = "shadow"
    PRODUCTION = "production"


_BELOW: Final = {Stage.SHADOW: Stage.CANDIDATE, Stage.PRODUCTION: Stage.SHADOW}


class Action(StrEnum):
    PUSH = "push"
    PROMOTE = "promote"
    REVERT = "revert"


class RegistryProblem(StrEnum):
    """Why the registry refuses; closed."""

    INVALID_NAME = "invalid_name"
    INVALID_AUTHOR = "invalid_author"
    UNKNOWN_VERSION = "unknown_version"
    OTHER_CONTENT = "other_content"
    NOT_IN_STAGE_BELOW = "not_in_stage_below"
    NOTHING_BEFORE = "nothing_before"
    DAMAGED = "damaged"
    TOO_LONG = "too_long"


class RegistryRefused(ValueError):
    """What was asked for is not allowed; nothing has changed."""

    def __init__(self, problem: RegistryProblem, detail: str) -> None:
        super().__init__(f"{problem}: {detail}")
        self.problem = problem


class Step(NamedTuple):
    """One entry of the history: what `stage` held `before` and holds since. Digests; "" is nothing."""

    action: Action
    stage: Stage
    digest: str
    before: str
    by: str
    at: EpochMs
    comment: str


class Author(NamedTuple):
    """Who takes a step, when and why."""

    by: str
    at: EpochMs
    comment: str = ""


@dataclass(frozen=True)
class Stages:
    """The document of one tenant and machine type. `productions` are those that revert goes back through, in order."""

    candidate: str = ""
    shadow: str = ""
    productions: tuple[str, ...] = ()
    history: tuple[Step, ...] = ()

    @property
    def production(self) -> str:
        return self.productions[-1] if self.productions else ""

    def holder(self, stage: Stage) -> str:
        return {Stage.CANDIDATE: self.candidate, Stage.SHADOW: self.shadow, Stage.PRODUCTION: self.production}[stage]

    def stages_of(self, digest: str) -> tuple[Stage, ...]:
        return tuple(stage for stage in Stage if self.holder(stage) == digest)

    def pushed(self, digest: str, author: Author) -> Stages:
        return self._with(Action.PUSH, Stage.CANDIDATE, digest, author, replace(self, candidate=digest))

    def promoted(self, stage: Stage, digest: str, author: Author) -> Stages:
        """`digest` ("": whatever is there) from the stage below into `stage`."""
        below = _BELOW.get(stage)
        if below is None:
            raise RegistryRefused(RegistryProblem.NOT_IN_STAGE_BELOW, f"a version becomes {stage} by push")
        digest = digest or self.holder(below)
        if not digest or self.holder(below) != digest:
            held = self.holder(below) or "nothing"
            raise RegistryRefused(
                RegistryProblem.NOT_IN_STAGE_BELOW, f"{digest or 'a version'} is not {below}; {held} is"
            )
        if stage is Stage.SHADOW:
            after = replace(self, shadow=digest, candidate="")
        elif self.production == digest:
            after = replace(self, shadow="")
        else:
            after = replace(self, productions=(*self.productions, digest), shadow="")
        return self._with(Action.PROMOTE, stage, digest, author, after)

    def reverted(self, author: Author) -> Stages:
        if len(self.productions) < 2:
            raise RegistryRefused(RegistryProblem.NOTHING_BEFORE, f"no production before {self.production or 'any'}")
        after = replace(self, productions=self.productions[:-1])
        return self._with(Action.REVERT, Stage.PRODUCTION, after.production, author, after)

    def _with(self, action: Action, stage: Stage, digest: str, author: Author, after: Stages) -> Stages:
        if len(self.history) >= HISTORY_MAX:
            raise RegistryRefused(RegistryProblem.TOO_LONG, f"{HISTORY_MAX} steps; begin another machine type")
        step = Step(action, stage, digest, self.holder(stage), author.by, author.at, author.comment)
        return replace(after, history=(*self.history, step))

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": _SCHEMA,
            "candidate": self.candidate,
            "shadow": self.shadow,
            "productions": list(self.productions),
            "history": [{**step._asdict(), "at": isoformat(step.at)} for step in self.history],
        }


class Registry:
    """The versions and stages of one machine type of one tenant."""

    def __init__(self, store: ObjectStore, *, tenant: str, machine_type: str) -> None:
        try:
            self._prefix = f"{checked_name(tenant)}/{checked_name(machine_type)}/"
        except InvalidReading as error:
            raise RegistryRefused(RegistryProblem.INVALID_NAME, error.detail) from None
        self._store = store
        self._document = f"{self._prefix}stages.json"

    def stages(self) -> Stages:
        return self._read()[0]

    def versions(self) -> tuple[str, ...]:
        """The digests of all versions, sorted."""
        prefix = f"{self._prefix}versions/"
        return tuple(
            name.removeprefix(prefix).removesuffix(".bundle")
            for name in self._store.names(prefix)
            if name.endswith(".bundle")
        )

    def get(self, digest: str) -> bytes:
        """The bundle's bytes, as they were pushed."""
        found = self._store.get(self._version(digest))
        if found is None:
            raise RegistryRefused(RegistryProblem.UNKNOWN_VERSION, digest)
        return found.body

    def push(self, body: bytes, *, digest: str, author: Author) -> Stages:
        """Keep a bundle for good and make it the candidate. The same bundle may be pushed again."""
        name = self._version(digest)
        if not self._store.put_new(name, body):
            known = self._store.get(name)
            if known is None or known.body != body:
                raise RegistryRefused(RegistryProblem.OTHER_CONTENT, f"{digest} is there with other content")
        return self._change(lambda stages: stages.pushed(digest, _checked(author)))

    def promote(self, stage: Stage, *, author: Author, digest: str = "") -> Stages:
        """What is in the stage below becomes `stage`; with a `digest`, only if it is that version."""
        return self._change(lambda stages: stages.promoted(stage, digest, _checked(author)))

    def revert(self, *, author: Author) -> Stages:
        """Production is again the version that it was before."""
        return self._change(lambda stages: stages.reverted(_checked(author)))

    def _version(self, digest: str) -> str:
        if _DIGEST.fullmatch(digest) is None:
            raise RegistryRefused(RegistryProblem.UNKNOWN_VERSION, f"{digest[:80]!r} is no digest")
        return f"{self._prefix}versions/{digest}.bundle"

    def _change(self, change: Callable[[Stages], Stages]) -> Stages:
        """Decide on what is there now; where somebody else was first, decide again on what they left."""
        for _ in range(_RACES_MAX):
            stages, etag = self._read()
            after = change(stages)
            body = json.dumps(after.as_json(), indent=1).encode()
            if etag is None:
                written = self._store.put_new(self._document, body)
            else:
                written = self._store.replace(self._document, body, etag=etag)
            if written:
                return after
        raise DeliveryFailed(f"could not change {self._document} in {self._store.place}: other writers came first")

    def _read(self) -> tuple[Stages, str | None]:
        found = self._store.get(self._document)
        if found is None:
            return Stages(), None
        try:
            return _stages(json.loads(found.body)), found.etag
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryRefused(RegistryProblem.DAMAGED, f"{self._document}: {error!r}") from None


def _stages(fields: dict[str, Any]) -> Stages:
    if fields["schema"] != _SCHEMA:
        raise ValueError(f"schema {fields['schema']!r}, this version reads {_SCHEMA}")
    return Stages(
        str(fields["candidate"]),
        str(fields["shadow"]),
        tuple(map(str, fields["productions"])),
        tuple(map(_step, fields["history"])),
    )


def _step(fields: dict[str, Any]) -> Step:
    at = parse_timestamp(fields["at"], received_at=0)
    known = {**fields, "action": Action(fields["action"]), "stage": Stage(fields["stage"]), "at": at}
    return Step(**known)


def machine_types(store: ObjectStore, tenant: str) -> Sequence[str]:
    """The machine types of a tenant that have a document."""
    names = store.names(f"{tenant}/")
    return tuple(name.split("/")[1] for name in names if name.endswith("/stages.json") and name.count("/") == 2)


def _checked(author: Author) -> Author:
    try:
        return Author(checked_author(author.by), author.at, checked_comment(author.comment))
    except ValueError as error:
        raise RegistryRefused(RegistryProblem.INVALID_AUTHOR, str(error)) from None
