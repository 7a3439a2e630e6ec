"""Parameters against botocore's own service model, refused in the words of AWS:

    1 validation error detected: Value 'a b' at 'modelName' failed to satisfy constraint: Member must satisfy regular
    expression pattern: [a-zA-Z0-9]([\\-a-zA-Z0-9]*[a-zA-Z0-9])?

A client that botocore makes checks little of this itself (what is required, types, lengths from below).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import botocore.session

from localcloud.sagemaker.wire import ServiceError

SERVICE: Final = "sagemaker"
RUNTIME: Final = "sagemaker-runtime"
_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}


@cache
def service_model(service: str) -> Any:
    """botocore's model of the service; its files are read once."""
    return botocore.session.get_session().get_service_model(service)


def operations() -> frozenset[str]:
    return frozenset(service_model(SERVICE).operation_names)


def check(operation: str, parameters: Mapping[str, Any]) -> None:
    """ServiceError(ValidationException) with every problem of an operation's parameters."""
    shape = service_model(SERVICE).operation_model(operation).input_shape
    problems = list(_structure(shape, parameters, ""))
    if problems:
        raise invalid(problems)


def output_members(operation: str) -> frozenset[str]:
    """What the operation may answer."""
    shape = service_model(SERVICE).operation_model(operation).output_shape
    return frozenset(shape.members) if shape else frozenset()


def invalid(problems: list[str], code: str = "ValidationException") -> ServiceError:
    errors = "error" if len(problems) == 1 else "errors"
    return ServiceError(code, f"{len(problems)} validation {errors} detected: {'; '.join(problems)}")


def _value(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not _is_of_type(shape, value):
        yield _problem(value, path, f"Member must be a {shape.type_name}")
    elif shape.type_name == "structure":
        yield from _structure(shape, value, path)
    elif shape.type_name == "list":
        yield from _bounds(shape, value, path, len(value), "length")
        for number, item in enumerate(value, start=1):
            yield from _value(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        yield from _bounds(shape, value, path, len(value), "length")
        for key, item in value.items():
            yield from _value(shape.key, key, f"{path}.key")
            yield from _value(shape.value, item, f"{path}.{key}.member")
    elif shape.type_name == "string":
        yield from _string(shape, value, path)
    elif shape.type_name in {"integer", "long", "float", "double"}:
        yield from _bounds(shape, value, path, value, "value")


def _is_of_type(shape: Any, value: Any) -> bool:
    types = _TYPES.get(shape.type_name, (object,))
    # To Python a bool is an int.
    return isinstance(value, types) and (not isinstance(value, bool) or bool in types)


def _structure(shape: Any, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for name in shape.required_members:
        if name not in value:
            yield _problem(None, _below(path, name), "Member must not be null")
    for name, item in value.items():
        if name in shape.members and item is not None:
            yield from _value(shape.members[name], item, _below(path, name))
        elif name not in shape.members:
            yield f"Unknown parameter at '{_below(path, name)}'"


def _string(shape: Any, value: str, path: str) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield _problem(value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
    yield from _bounds(shape, value, path, len(value), "length")
    pattern = shape.metadata.get("pattern")
    # Java's classes (\p{L}) are not Python's; such patterns are left to AWS.
    if pattern and r"\p" not in pattern and not re.fullmatch(pattern.replace(r"\z", r"\Z"), value):
        yield _problem(value, path, f"Member must satisfy regular expression pattern: {pattern}")


def _bounds(shape: Any, value: Any, path: str, measure: float, what: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and measure < low:
        yield _problem(value, path, f"Member must have {what} greater than or equal to {low}")
    if high is not None and measure > high:
        yield _problem(value, path, f"Member must have {what} less than or equal to {high}")


def _problem(value: Any, path: str, constraint: str) -> str:
    shown = "null" if value is None else f"'{str(value)[:200]}'"
    return f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}"


def _below(path: str, name: str) -> str:
    name = name[:1].lower() + name[1:]
    return f"{path}.{name}" if path else name
