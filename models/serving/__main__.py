"""The container's entry point: SageMaker runs the image with `serve` or `train` as its argument.

python -m models.serving serve|train
"""

from __future__ import annotations

import logging
import os
import signal
import sys

from models.serving.container import read_settings
from plantwatch.settings import InvalidSettings

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """2 for a wrong call or setting, else what `serve` or `train` says."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    if arguments not in (["serve"], ["train"]):
        logger.error("usage: python -m models.serving serve|train")
        return 2
    try:
        container, sagemaker = read_settings(os.environ)
    except InvalidSettings as error:
        for problem in error.problems:
            logger.error("setting %s", problem)
        return 2
    # Each imports what only it needs: a server knows no training, a training no server.
    if arguments == ["serve"]:
        from models.serving.server import serve

        return serve(container, sagemaker)
    from models.serving.training import train

    # The container's first process has no default for it, and would go on until it is killed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    return train(container)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
