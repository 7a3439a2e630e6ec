"""The emulator that our patches were written for, to the exact version: they reach into private functions."""

from __future__ import annotations

import importlib.metadata
import importlib.util

MINISTACK_VERSION = "1.5.33"


def require_emulator() -> list[str]:
    """What is wrong with this environment, in words; empty when it fits."""
    problems = []
    try:
        version = importlib.metadata.version("ministack")
    except importlib.metadata.PackageNotFoundError:
        return ["ministack is not installed in this environment (make setup creates .venv-emulator)"]
    if version != MINISTACK_VERSION:
        problems.append(f"ministack is {version}, our patches are written for {MINISTACK_VERSION}")
    if importlib.util.find_spec("cryptography") is None:
        # Without it ministack starts no MQTT listener and says so at DEBUG level only.
        problems.append("cryptography is not installed: no certificates, no MQTT (add it to locks/emulator.in)")
    return problems
