"""`serve`: one bundle behind HTTP, until SIGTERM.

The bundle is loaded and verified before anyone listens, so that a server that answers /ping is one that can score. At
SIGTERM (SageMaker kills 30 s later) nothing new is taken, and what has been taken is answered.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import Any, Final

from waitress import create_server, wasyncore

from models.serving.application import Application
from models.serving.container import CannotServe, ContainerSettings, Folders, SageMakerSettings, load_bundle, now_ms
from models.serving.privileges import CannotDrop, become
from models.serving.scorer import Scorer

logger = logging.getLogger(__name__)

# SageMaker's front end keeps a handful; the rest is for whoever looks at the container.
CONNECTIONS_MAX: Final = 100
# An answer may take 60 s; a connection on which nothing at all comes for so long is nobody's.
IDLE_S: Final = 120
# Names and values of SageMaker's headers are below 1 kB each; this holds all that it has.
HEADERS_BYTES_MAX: Final = 32 * 1024
BODY_SLACK_BYTES: Final = 2**20
# An answer larger than this waits on disk for a slow reader: that of 100,000 readings is half of it.
ANSWER_BYTES_IN_MEMORY: Final = 64 * 2**20
# What is in work at SIGTERM; well before SIGKILL.
FINISH_S: Final = 20.0


def serve(container: ContainerSettings, sagemaker: SageMakerSettings) -> int:
    """Exit code: 0 after SIGTERM, 1 where there is nothing to serve or nowhere to listen."""
    began = time.monotonic()
    try:
        bundle = load_bundle(Folders(container.ml_root).model)
    except CannotServe as error:
        logger.error("cannot serve: %s", error)
        return 1
    application = Application(
        Scorer(bundle, clock=now_ms, batch=sagemaker.batch),
        now_ms,
        sagemaker.payload_bytes_max,
        sagemaker.batch,
        threading.Semaphore(container.threads - 1),
    )
    connections: dict[int, Any] = {}
    try:
        server = _listen(application, container, sagemaker, connections)
        become(container.run_as)
    except CannotDrop as error:
        logger.error("cannot serve: %s", error)
        return 1
    except OSError as error:
        logger.error("cannot listen on %s:%d: %s", container.host, sagemaker.bind_to_port, error.strerror)
        return 1
    logger.info(
        "bundle %s %s (%d signals), on %s:%d, %s, after %.0f ms",
        bundle.name, bundle.digest, len(bundle.priors), container.host, sagemaker.bind_to_port,
        "batch" if sagemaker.batch else "real time", 1000 * (time.monotonic() - began),
    )  # fmt: skip
    _run(server, connections, _on_sigterm(server))
    logger.info("stopped")
    return 0


def _listen(
    application: Application, container: ContainerSettings, sagemaker: SageMakerSettings, connections: dict[int, Any]
) -> Any:
    payload = sagemaker.payload_bytes_max
    return create_server(
        application,
        map=connections,
        host=container.host,
        port=sagemaker.bind_to_port,
        threads=container.threads,
        connection_limit=CONNECTIONS_MAX,
        channel_timeout=IDLE_S,
        max_request_header_size=HEADERS_BYTES_MAX,
        # Bodies wait in memory. A little too large is refused in our own line, much too large at its first byte.
        max_request_body_size=payload + BODY_SLACK_BYTES,
        inbuf_overflow=payload + BODY_SLACK_BYTES,
        outbuf_overflow=ANSWER_BYTES_IN_MEMORY,
        ident="plantwatch",
        clear_untrusted_proxy_headers=True,
    )


def _on_sigterm(server: Any) -> list[signal.Signals]:
    """The signals that have come; the server's loop is woken by each."""
    came: list[signal.Signals] = []

    def note(number: int, _frame: object) -> None:
        came.append(signal.Signals(number))
        server.pull_trigger()

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    return came


def _run(server: Any, connections: dict[int, Any], stop: list[signal.Signals]) -> None:
    """The loop of `server.run()`, which would drop at a signal what waits for a thread."""
    while not stop:
        wasyncore.loop(timeout=IDLE_S, map=connections, count=1)
    logger.info("%s: finishing %d connections", stop[0].name, len(server.active_channels))
    server.accepting = False
    deadline = time.monotonic() + FINISH_S
    while _in_work(server) and time.monotonic() < deadline:
        wasyncore.loop(timeout=0.1, map=connections, count=1)
    server.task_dispatcher.shutdown(timeout=1)
    wasyncore.close_all(connections)


def _in_work(server: Any) -> bool:
    channels = list(server.active_channels.values())
    return any(channel.requests or channel.total_outbufs_len for channel in channels)
