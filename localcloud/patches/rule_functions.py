"""Most functions of rule SQL do not exist: a rule that calls one loses the field or never matches.

Stock: only clientid, encode, isUndefined, newuuid, principal, regexp_matches, replace, timestamp, topic and traceid
are there; any other call is Undefined, with one warning in the log.
AWS: "AWS IoT SQL functions" in the AWS IoT Core developer guide; an argument of a wrong type makes it Undefined.
Here: the functions that a telemetry rule needs. `parse_time` knows the Joda letters yyyy, MM, dd, HH, mm, ss in UTC.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ministack.services import iot

NAMES = (
    "ministack.services.iot:_eval_select_function",
    "ministack.services.iot:_eval_select_expr",
    "ministack.services.iot:_IMPLEMENTED_SQL_FUNCS",
    "ministack.services.iot:_MISSING",
)

_JODA = (("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H"), ("mm", "%M"), ("ss", "%S"), ("'", ""))


def parse_time(pattern: str, epoch_ms: float, *_zone: str) -> str:
    for joda, strftime in _JODA:
        pattern = pattern.replace(joda, strftime)
    return datetime.fromtimestamp(epoch_ms / 1000, UTC).strftime(pattern)


def _digest(algorithm: str) -> Callable[[str], str]:
    return lambda text: hashlib.new(algorithm, text.encode()).hexdigest()


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "concat": lambda *parts: "".join(str(part) for part in parts),
    "endswith": lambda text, end: text.endswith(end),
    "floor": math.floor,
    "indexof": lambda text, part: text.find(part),
    "length": len,
    "lower": lambda text: text.lower(),
    "md5": _digest("md5"),
    "mod": math.fmod,
    "parse_time": parse_time,
    "power": math.pow,
    "round": round,
    "sha1": _digest("sha1"),
    "sha256": _digest("sha256"),
    "sqrt": math.sqrt,
    "startswith": lambda text, start: text.startswith(start),
    "substring": lambda text, start, end=None: text[start:end],
    "trim": lambda text: text.strip(),
    "upper": lambda text: text.upper(),
}


def apply() -> None:
    evaluate_upstream = iot._eval_select_function

    def evaluate(
        name: str, arguments: list[str], topic: str, payload: bytes, message: Any, client_id: str | None = None
    ) -> Any:
        function = _FUNCTIONS.get(name)
        if function is None:
            return evaluate_upstream(name, arguments, topic, payload, message, client_id)
        values = [iot._eval_select_expr(each, topic, payload, message, client_id) for each in arguments]
        return _call(function, values)

    iot._eval_select_function = evaluate
    iot._IMPLEMENTED_SQL_FUNCS = frozenset(iot._IMPLEMENTED_SQL_FUNCS) | _FUNCTIONS.keys()


def _call(function: Callable[..., Any], values: list[Any]) -> Any:
    if any(value is iot._MISSING for value in values):
        return iot._MISSING
    try:
        return function(*values)
    except (TypeError, ValueError, AttributeError, ArithmeticError):
        return iot._MISSING
