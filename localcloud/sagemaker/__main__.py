"""SageMaker on this machine, until SIGTERM.

    python -m localcloud.sagemaker --port 14568 --state build/local/sagemaker

Region, credentials and the S3 of models and data come from the environment (AWS_REGION, AWS_ENDPOINT_URL), as
`localcloud.region.environment` makes it.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

import boto3

from localcloud.region import HOST
from localcloud.sagemaker.service import SageMaker
from localcloud.sagemaker.wire import Server


def main() -> int:
    parser = argparse.ArgumentParser(prog="localcloud.sagemaker", description="SageMaker on this machine.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True, help="folder of resources, containers and logs")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the containers (extra: serving)")
    arguments = parser.parse_args()
    if not os.environ.get("AWS_ENDPOINT_URL"):
        # Without it, models and data would be sought in somebody's real account.
        print("localcloud.sagemaker: AWS_ENDPOINT_URL is not set", file=sys.stderr)
        return 2
    service = SageMaker(
        arguments.state.resolve(), boto3.client("s3"), region=boto3.session.Session().region_name or "us-east-1",
        python=arguments.python,
    )  # fmt: skip
    server = Server(arguments.port, service.control, service.invoke)
    for number in (signal.SIGTERM, signal.SIGINT):
        # `shutdown` waits for the loop that this thread runs.
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    service.start()
    print(f"listening on http://{HOST}:{server.server_port}", file=sys.stderr, flush=True)
    try:
        server.serve_forever()
    finally:
        service.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
