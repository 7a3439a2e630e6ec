"""Names and comments that people leave behind: printable, bounded, one line."""

from __future__ import annotations

from typing import Final

from plantwatch.telemetry import InvalidReading, attribute_text

AUTHOR_CHARS_MAX: Final = 128


def checked_author(name: object) -> str:
    """Who says so. ValueError where nobody is named."""
    if not isinstance(name, str) or not name.strip() or len(name) > AUTHOR_CHARS_MAX:
        raise ValueError(f"a name of 1 to {AUTHOR_CHARS_MAX} characters is wanted, not {name!r:.140}")
    return checked_comment(name)


def checked_comment(text: object) -> str:
    """Why; may be empty. ValueError for more than a line of printable text."""
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError(f"one line of printable text is wanted, not {text!r:.140}")
    try:
        return attribute_text(text)
    except InvalidReading as error:
        raise ValueError(str(error)) from None
