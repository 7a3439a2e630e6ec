"""Names that runtimes and the control machine must agree on, each in one place. Pure.

What has a tenant's or a region's name in it is in `deploy.topology`, and reaches the runtimes as settings.
"""

from __future__ import annotations

from typing import Final

# The parts of the lake's bucket, each with its own life cycle and its own writers. With the slash, or a life cycle for
# `readings` would also be one for `readings-old`.
READINGS_PREFIX: Final = "readings/"
DEAD_LETTERS_PREFIX: Final = "dead-letters/"
DETECTOR_STATE_PREFIX: Final = "detector-state/"
