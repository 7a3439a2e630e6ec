"""`python -m kcl_consumer`: the supervisor of this process slot (settings: see `kcl_consumer.settings`)."""

from __future__ import annotations

import logging
import os
import signal
import sys

from kcl_consumer.settings import ConsumerSettings, from_environment
from kcl_consumer.supervisor import MissingJava, Supervisor
from plantwatch.aws.clients import client
from plantwatch.aws.leader_lock import DynamoDbLeaderLock
from plantwatch.aws.leases import LeaseTable
from plantwatch.settings import InvalidSettings


def build_supervisor(settings: ConsumerSettings) -> Supervisor:
    dynamodb = client("dynamodb")
    leases = LeaseTable(dynamodb, client("kinesis"), application=settings.application, stream_arn=settings.stream_arn)
    return Supervisor(settings, os.environ, DynamoDbLeaderLock(dynamodb, settings.application), leases)


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        settings = from_environment(os.environ)
        supervisor = build_supervisor(settings)
        signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
        signal.signal(signal.SIGINT, lambda *_: supervisor.stop())
        supervisor.run()
    except InvalidSettings as error:
        print("\n".join(f"setting {problem}" for problem in error.problems), file=sys.stderr)
        return 2
    except MissingJava as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
