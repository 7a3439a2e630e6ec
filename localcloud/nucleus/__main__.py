"""`python -m localcloud.nucleus --config FILE.json`: run the stand-in until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from localcloud.nucleus.nucleus import Nucleus, NucleusSettings, read_settings


async def _run(config: NucleusSettings) -> None:
    task = asyncio.ensure_future(Nucleus(config).run())
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        logging.getLogger(__name__).info("nucleus stopped")


def main() -> None:
    parser = argparse.ArgumentParser(description="Stand-in Greengrass nucleus")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(_run(read_settings(arguments.config)))


if __name__ == "__main__":
    main()
