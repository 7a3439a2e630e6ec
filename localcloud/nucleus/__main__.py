"""`python -m localcloud.nucleus --config FILE.json`: run the stand-in until SIGTERM or SIGINT; SIGHUP
reads the components' configuration again, as a new deployment."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from localcloud.nucleus import settings
from localcloud.nucleus.nucleus import Nucleus


async def _run(path: Path) -> None:
    nucleus = Nucleus(settings.read(path))
    task = asyncio.ensure_future(nucleus.run())
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, task.cancel)
    loop.add_signal_handler(signal.SIGHUP, lambda: nucleus.deploy(settings.read(path)))
    try:
        await task
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("nucleus stopped")


def main() -> None:
    parser = argparse.ArgumentParser(description="Stand-in Greengrass nucleus")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_run(arguments.config))


if __name__ == "__main__":
    main()
