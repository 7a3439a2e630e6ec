"""What a provisioning did or would do, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from deploy.ensure.core import Action, Change, Outcome

_SIGN: Final = {Action.NONE: " ", Action.CREATE: "+", Action.UPDATE: "~", Action.DELETE: "-"}
_VALUE_CHARS_MAX: Final = 100


@dataclass(frozen=True)
class Report:
    """Every resource that was looked at, in order. `check` says that nothing was written."""

    outcomes: tuple[Outcome, ...]
    check: bool
    duration_s: float

    @property
    def changed(self) -> bool:
        return any(outcome.changed for outcome in self.outcomes)

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(outcome.action.value for outcome in self.outcomes)
        return {action.value: counted[action.value] for action in Action}

    def as_json(self) -> str:
        return json.dumps(
            {
                "changed": self.changed,
                "check": self.check,
                "counts": self.counts,
                "duration_s": round(self.duration_s, 3),
                "resources": [_as_dict(outcome) for outcome in self.outcomes],
            },
            indent=2,
        )

    def as_text(self) -> str:
        return "\n".join(_lines(self))


def _as_dict(outcome: Outcome) -> dict[str, Any]:
    return {
        "action": outcome.action.value,
        "kind": outcome.kind,
        "name": outcome.name,
        "region": outcome.region,
        "changes": [change._asdict() for change in outcome.changes],
    }


def _lines(report: Report) -> Iterator[str]:
    width = max((len(outcome.kind) for outcome in report.outcomes), default=0)
    for outcome in report.outcomes:
        yield f"{_SIGN[outcome.action]} {outcome.action:<6}  {outcome.region}  {outcome.kind:<{width}}  {outcome.name}"
        if outcome.action is Action.UPDATE:
            yield from (f"    {_change(change)}" for change in outcome.changes)
    counted = ", ".join(f"{count} {action}" for action, count in report.counts.items() if count)
    tense = "would be (nothing was written)" if report.check else "done"
    yield f"{counted}: {tense} in {report.duration_s:.1f} s"


def _change(change: Change) -> str:
    return f"{change.field}: {_short(change.before)} -> {_short(change.after)}"


def _short(value: Any) -> str:
    text = "(none)" if value is None else json.dumps(value)
    return text if len(text) <= _VALUE_CHARS_MAX else f"{text[:_VALUE_CHARS_MAX]}..."
