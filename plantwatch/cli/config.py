"""The option `--config FILE` of every command that watches: how readings are judged, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from plantwatch.settings import InvalidSettings, load
from plantwatch.watch_config import WatchConfig

# A configuration is below 4 kB; a file of megabytes is something else.
_BYTES_MAX: Final = 1_000_000


def read_config(path: Path | None) -> WatchConfig:
    """The parameters that the file holds; what it leaves out is as ever. InvalidSettings, with all problems."""
    if path is None:
        return WatchConfig()
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_BYTES_MAX))
        if not isinstance(values, dict):
            raise InvalidSettings(["an object is wanted"])
        return load(WatchConfig, values)
    except InvalidSettings as error:
        raise InvalidSettings([f"{path}: {problem}" for problem in error.problems]) from None
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidSettings([f"{path}: {error}"]) from None
    except OSError as error:
        raise InvalidSettings([f"{path}: {error.strerror or error}"]) from None
