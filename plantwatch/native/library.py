"""Finds the built core, makes sure that it is built from these very sources, and loads it.

The library's file name and the library itself name the digest of the sources that it was built from. One that was built
from others is refused: two versions side by side would score differently and nobody could tell.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).parent / "core"
BUILT: Final = Path(__file__).parent / "lib"

# Python's own functions, numbered as `pw_elementary` in core.c numbers them.
_ELEMENTARY: Final[tuple[Callable[[float], float], ...]] = (
    math.log, math.log1p, math.log10, math.exp, math.expm1, lambda x: math.pow(10.0, x),
)  # fmt: skip
# Irrational steps over the range that detectors ask; a libm with other last digits differs at many of them.
_POINTS: Final = tuple(math.fmod(turn * math.pi, 12.0) + 1e-3 for turn in range(48))


class Unusable(Exception):
    """There is no library that may be used here; the message says why."""


def digest() -> str:
    """Of all sources of the core and the flags they are compiled with, as 16 hexadecimal digits."""
    sources = hashlib.sha256()
    for source in (SOURCES / "flags", *sorted(SOURCES.glob("*.[ch]"))):
        text = source.read_bytes()
        sources.update(f"{source.name} {len(text)}\n".encode() + text)
    return sources.hexdigest()[:16]


def path_of(machine: str, folder: Path = BUILT) -> Path:
    """Where the library of these sources for a kind of processor (as `uname -m` names it) is."""
    return folder / f"core-{machine}-{digest()}.so"


def load(path: Path | None = None) -> ctypes.PyDLL:
    """The library for this processor. Calls keep the interpreter's lock: they are shorter than giving it away."""
    path = path or path_of(os.uname().machine)
    if not path.is_file():
        stale = any(path.parent.glob(f"{path.name.rpartition('-')[0]}-*.so"))
        raise Unusable("it was built from other sources" if stale else "it is not built for this machine")
    try:
        library = ctypes.PyDLL(str(path))
        library.pw_digest.restype = ctypes.c_char_p
        built_from = library.pw_digest()
    except (OSError, AttributeError) as error:
        raise Unusable(f"it cannot be loaded: {error}") from None
    if built_from != digest().encode():
        raise Unusable("it was built from other sources than its name says")
    _compare_elementary(library)
    return library


def _compare_elementary(library: ctypes.PyDLL) -> None:
    """A Python that brings its own libm may differ from the system's in the last digit, and so would the scores."""
    ask = library.pw_elementary
    ask.argtypes, ask.restype = (ctypes.c_int32, ctypes.c_double), ctypes.c_double
    for number, function in enumerate(_ELEMENTARY):
        if any(ask(number, point) != function(point) for point in _POINTS):
            raise Unusable("its elementary functions differ from Python's")
