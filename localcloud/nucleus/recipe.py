"""A component's recipe, as far as the stand-in follows it (Greengrass accepts recipes as JSON)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """Name, version, default configuration, and the environment that the recipe sets for `run`."""

    name: str
    version: str
    configuration: Mapping[str, Any]
    environment: Mapping[str, str]


def read(path: Path) -> Recipe:
    recipe = json.loads(path.read_text())
    (manifest,) = (item for item in recipe["Manifests"] if item.get("Platform", {}).get("os") in ("linux", "*"))
    return Recipe(
        recipe["ComponentName"],
        recipe["ComponentVersion"],
        recipe.get("ComponentConfiguration", {}).get("DefaultConfiguration", {}),
        manifest["Lifecycle"]["run"].get("Setenv", {}),
    )
