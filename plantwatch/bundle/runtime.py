"""What every runtime does with the setting `bundle_path`: refuse a bundle that is none, watch by one that is good."""

from __future__ import annotations

from pathlib import Path

from plantwatch.bundle.container import load
from plantwatch.bundle.model import InvalidBundle
from plantwatch.machine import Machines


def problems(bundle_path: str) -> list[str]:
    """Why the bundle cannot be used, as a setting's problem; none where it can, or where none is named."""
    if not bundle_path:
        return []
    try:
        load(Path(bundle_path))
    except (InvalidBundle, OSError) as error:
        return [f"bundle_path: {bundle_path}: {error}"]
    return []


def watching(bundle_path: str) -> Machines:
    """Machines judged by the bundle in this file, or by the default configuration where none is named.

    InvalidBundle or OSError where the file went bad since `problems` found none.
    """
    return Machines.of(load(Path(bundle_path))) if bundle_path else Machines()
