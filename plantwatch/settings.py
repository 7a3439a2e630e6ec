"""Settings of every runtime: one frozen dataclass each, typed, read once, all problems reported at once.

    @dataclass(frozen=True)
    class ConsumerSettings:
        stream_arn: str
        flush_interval_s: float = 60.0

    settings = load(ConsumerSettings, os.environ, prefix="PLANTWATCH_")

reads `PLANTWATCH_STREAM_ARN` and `PLANTWATCH_FLUSH_INTERVAL_S`. Values may arrive as text (environment,
Greengrass nucleus lite) or typed (JSON): both are coerced, neither is guessed.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


class InvalidSettings(ValueError):
    """The operator's fault. `problems` names every wrong setting, so that one look mends all."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def load(cls: type[T], values: Mapping[str, Any], *, prefix: str | None = None) -> T:
    """An instance of the dataclass `cls` from `values`.

    With a `prefix`, keys are PREFIX + FIELD in capitals (environment variables) and other keys are nobody's business.
    Without, keys are the fields' names and an unknown one is a problem. The dataclass's own `__post_init__` may raise
    ValueError (several as InvalidSettings). Raises InvalidSettings with all problems.
    """
    assert dataclasses.is_dataclass(cls)
    hints = get_type_hints(cls)
    fields = {_key(f.name, prefix): f for f in dataclasses.fields(cls) if f.init}
    problems = [] if prefix is not None else [f"{key}: no such setting" for key in sorted(set(values) - set(fields))]
    arguments: dict[str, Any] = {}
    for key, field in fields.items():
        if key in values:
            try:
                arguments[field.name] = coerce(hints[field.name], values[key])
            except InvalidSettings as error:  # of a dataclass within
                problems += [f"{key}{_joint(problem)}{problem}" for problem in error.problems]
            except (ValueError, TypeError) as error:
                problems.append(f"{key}: {error}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{key}: missing")
    if problems:
        raise InvalidSettings(problems)
    try:
        return cls(**arguments)
    except InvalidSettings:
        raise
    except ValueError as error:
        raise InvalidSettings([str(error)]) from None


def coerce(wanted: Any, value: Any) -> Any:
    """`value` as the type `wanted` (bool, int, float, str, Path, literals, tuples, mappings, optional ones,
    dataclasses, and unions of dataclasses, which differ in the default of their field `kind`)."""
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        return _optional(wanted, value) if types.NoneType in get_args(wanted) else _variant(wanted, value)
    if origin is Literal:
        return _literal(wanted, value)
    if origin is tuple:
        return _each(get_args(wanted)[0], _items(value))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(wanted, value)
    if dataclasses.is_dataclass(wanted) and isinstance(wanted, type):
        return load(wanted, value if isinstance(value, Mapping) else _json(value))
    if wanted is Any or (isinstance(wanted, type) and type(value) is wanted):
        return value
    try:
        return _SCALARS[wanted](value)
    except KeyError:
        return wanted(value)  # an enumeration, which says itself what it takes


def _key(name: str, prefix: str | None) -> str:
    return name if prefix is None else prefix + name.upper()


def _optional(wanted: Any, value: Any) -> Any:
    if value is None or value == "":
        return None
    (inner,) = (arm for arm in get_args(wanted) if arm is not types.NoneType)
    return coerce(inner, value)


def _variant(wanted: Any, value: Any) -> Any:
    """The dataclass of a union whose `kind` the value names."""
    values = value if isinstance(value, Mapping) else _json(value)
    arms = {arm.__dataclass_fields__["kind"].default: arm for arm in get_args(wanted)}
    kind = str(values.get("kind"))
    if kind not in arms:
        raise InvalidSettings([f"kind: one of {', '.join(arms)}, not {kind!r}"])
    return coerce(arms[kind], values)


def _literal(wanted: Any, value: Any) -> Any:
    if value not in get_args(wanted):
        raise ValueError(f"one of {', '.join(get_args(wanted))}, not {value!r}")
    return value


def _each(wanted: Any, items: list[Any]) -> tuple[Any, ...]:
    """All items; InvalidSettings with the problems of all of them, each with its place."""
    found, problems = [], []
    for place, item in enumerate(items):
        try:
            found.append(coerce(wanted, item))
        except InvalidSettings as error:
            problems += [f"[{place}]{_joint(problem)}{problem}" for problem in error.problems]
    if problems:
        raise InvalidSettings(problems)
    return tuple(found)


def _joint(problem: str) -> str:
    """Between a setting and what is wrong within it."""
    return "" if problem.startswith("[") else "."


def _items(value: Any) -> list[Any]:
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = json.loads(value)
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list | tuple):
        return list(value)
    raise ValueError(f"a list or a comma-separated text is wanted, not {value!r}")


def _json(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError(f"an object is wanted, not {value!r}")  # noqa: TRY004
    decoded = json.loads(value)
    if not isinstance(decoded, dict):
        raise ValueError(f"an object is wanted, not {value!r}")  # noqa: TRY004
    return decoded


def _mapping(wanted: Any, value: Any) -> dict[Any, Any]:
    keys, values = get_args(wanted)
    decoded = value if isinstance(value, Mapping) else _json(value)
    return {coerce(keys, key): coerce(values, item) for key, item in decoded.items()}


def _bool(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f"true or false is wanted, not {value!r}")


def _int(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError(f"a whole number is wanted, not {value!r}")  # noqa: TRY004
    try:
        number = float(value) if not isinstance(value, str) else float(value.strip())
    except ValueError:
        raise ValueError(f"a whole number is wanted, not {value!r}") from None
    if not number.is_integer():
        raise ValueError(f"a whole number is wanted, not {value!r}")
    return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdigit() else int(number)


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError(f"a number is wanted, not {value!r}")  # noqa: TRY004
    try:
        return float(value)
    except (ValueError, TypeError):
        raise ValueError(f"a number is wanted, not {value!r}") from None


def _str(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"a text is wanted, not {value!r}")


_SCALARS: dict[Any, Callable[[Any], Any]] = {bool: _bool, int: _int, float: _float, str: _str, Path: Path}
