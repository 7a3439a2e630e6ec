"""Canonical forms of what AWS gives back in another order than it was sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

# Policy elements where one string and a list of one string mean the same, and order means nothing.
_SETS = ("Action", "NotAction", "Resource", "NotResource")


def policy(document: str | Mapping[str, Any]) -> dict[str, Any]:
    """A policy document with its statements by Sid and every set sorted."""
    parsed = json.loads(document) if isinstance(document, str) else document
    statements = parsed["Statement"]
    statements = [statements] if isinstance(statements, Mapping) else statements
    ordered = sorted((_statement(each) for each in statements), key=lambda each: json.dumps(each, sort_keys=True))
    return {"Version": parsed["Version"], "Statement": sorted(ordered, key=lambda each: str(each.get("Sid", "")))}


def text(document: Mapping[str, Any]) -> str:
    """What is sent: compact, because policies have size limits in characters."""
    return json.dumps(document, separators=(",", ":"), sort_keys=True)


def tag_list(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    return [{key: name, value: tags[name]} for name in sorted(tags)]


def managed_tags(
    wanted: Mapping[str, str], present: Iterable[Mapping[str, str]] | Mapping[str, str], key: str = "Key"
) -> dict[str, str]:
    """Of the tags that are there, those whose keys we set: others belong to whoever set them."""
    if not isinstance(present, Mapping):
        present = {each[key]: each["Value" if key == "Key" else "value"] for each in present}
    return {name: present[name] for name in sorted(wanted) if name in present}


def _statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _element(key, value) for key, value in statement.items()}


def _element(key: str, value: Any) -> Any:
    if key in _SETS:
        return _sorted(value)
    if key in ("Principal", "NotPrincipal") and isinstance(value, Mapping):
        return {kind: _sorted(names) for kind, names in value.items()}
    if key == "Condition":
        return {test: {name: _sorted(values) for name, values in keys.items()} for test, keys in value.items()}
    return value


def _sorted(value: Any) -> list[str]:
    """Booleans are written both ways, true and "true"."""
    values = value if isinstance(value, list) else [value]
    return sorted(str(each).lower() if isinstance(each, bool) else str(each) for each in values)
