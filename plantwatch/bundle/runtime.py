"""What every runtime does with the settings `bundle_path` and `maintenance_path`: refuse files that are none, watch by
those that are good."""

from __future__ import annotations

from pathlib import Path

from plantwatch.bundle.container import load
from plantwatch.bundle.model import InvalidBundle
from plantwatch.machine import Machines
from plantwatch.maintenance import Maintenance, windows_from
from plantwatch.settings import InvalidSettings


def problems(bundle_path: str, maintenance_path: str = "") -> list[str]:
    """Why the files cannot be used, as settings' problems; none where they can, or where none is named."""
    found = []
    for name, path, read in (("bundle_path", bundle_path, load), ("maintenance_path", maintenance_path, _windows)):
        try:
            if path:
                read(Path(path))
        except (InvalidBundle, InvalidSettings, OSError, UnicodeDecodeError) as error:
            found.append(f"{name}: {path}: {error}")
    return found


def watching(bundle_path: str, maintenance_path: str = "") -> Machines:
    """Machines judged by the bundle in this file, or by the default configuration where none is named; nothing is an
    incident in the maintenance windows of the other file.

    InvalidBundle, InvalidSettings, UnicodeDecodeError or OSError where a file went bad since `problems` found none.
    """
    machines = Machines.of(load(Path(bundle_path))) if bundle_path else Machines()
    if maintenance_path:
        machines.maintain(_windows(Path(maintenance_path)))
    return machines


def _windows(path: Path) -> Maintenance:
    return windows_from(path.read_text("utf-8"))
