"""Start one region: check that the emulator is the one our patches were written for, apply them, serve.

    python -m localcloud.emulator

Configured by environment variables (see `localcloud.region.emulator_spec`), because ministack reads its own from there
while it is imported.
"""

from __future__ import annotations

import os
import sys

from localcloud.emulator.pins import require_emulator


def main() -> None:
    problems = require_emulator()
    if problems:
        sys.exit("localcloud.emulator cannot start:\n" + "\n".join(f"- {problem}" for problem in problems))
    # Only now: importing the patches imports the emulator.
    from localcloud import patches

    problems = patches.missing_names()
    if problems:
        sys.exit("localcloud.emulator: our patches do not fit this emulator:\n" + "\n".join(problems))
    patches.apply_all()
    from ministack import app

    from localcloud.emulator import internal_api

    internal_api.install()
    # Functions that this region runs must not find our repository by accident.
    os.environ.pop("PYTHONPATH", None)
    app.main()


if __name__ == "__main__":
    main()
