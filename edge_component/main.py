"""Entry point: `python -m edge_component`, launched by the Greengrass nucleus.

Exit code 0 after SIGTERM; anything else asks the nucleus to launch us anew, with a new token.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import time
from enum import Enum
from typing import Final

from edge_component import settings
from edge_component.bootstrap import EdgeComponent
from edge_component.clock import now_ms
from edge_component.inbox import Inbox
from edge_component.nucleus import Nucleus, NucleusAddress, NucleusUnavailable
from edge_component.settings import TELEMETRY_FILTER, EdgeSettings
from plantwatch.settings import InvalidSettings

logger = logging.getLogger(__name__)

# Together less than ten seconds: a nucleus that restarts has given our token away, and only it can give a new one.
_RECONNECT_PAUSES_S: Final = (0.5, 2.0, 5.0)


class Event(Enum):
    """What the main thread waits for."""

    STOP = "stop"
    CONFIGURATION = "configuration"
    NUCLEUS_LOST = "nucleus lost"
    FAILED = "failed"


Events = queue.SimpleQueue[Event]  # its `put` may be called from a signal handler


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    address = NucleusAddress(os.environ["AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"], os.environ["SVCUID"])
    events: Events = queue.SimpleQueue()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: events.put(Event.STOP))
    try:
        return _run(address, os.environ["AWS_IOT_THING_NAME"], events)
    except InvalidSettings as error:
        for problem in error.problems:
            logger.error("configuration: %s", problem)
    except NucleusUnavailable as error:
        logger.error("nucleus: %s", error)
    return 1


def _run(address: NucleusAddress, thing: str, events: Events) -> int:
    nucleus = _connect(address, events)
    current = settings.load(nucleus.configuration(), thing=thing)
    inbox = Inbox(current.inbox_bytes_max, now_ms)
    nucleus.subscribe(TELEMETRY_FILTER, inbox.put)
    while True:
        inbox.bytes_max = current.inbox_bytes_max
        component = EdgeComponent(current, nucleus, inbox, on_failed=lambda: events.put(Event.FAILED))
        try:
            component.start()
            event, current = _wait(events, nucleus, thing, current)
        finally:
            component.stop()
        if event is Event.NUCLEUS_LOST:
            nucleus = _reconnect(address, events)
            nucleus.subscribe(TELEMETRY_FILTER, inbox.put)
        elif event is not Event.CONFIGURATION:
            nucleus.close()
            return int(event is Event.FAILED)


def _wait(events: Events, nucleus: Nucleus, thing: str, current: EdgeSettings) -> tuple[Event, EdgeSettings]:
    """Until something ends this run of the component: what it was, and the settings of the next run."""
    while True:
        event = events.get()
        if event is not Event.CONFIGURATION:
            return event, current
        wanted = _wanted(nucleus, thing, current)
        if wanted != current:
            logger.info("configuration changed")
            return event, wanted


def _connect(address: NucleusAddress, events: Events) -> Nucleus:
    nucleus = Nucleus(address, on_lost=lambda: events.put(Event.NUCLEUS_LOST))
    nucleus.watch_configuration(lambda: events.put(Event.CONFIGURATION))
    return nucleus


def _reconnect(address: NucleusAddress, events: Events) -> Nucleus:
    for pause in _RECONNECT_PAUSES_S:
        time.sleep(pause)
        try:
            return _connect(address, events)
        except NucleusUnavailable as error:
            logger.warning("nucleus: %s", error)
    raise NucleusUnavailable("the nucleus is gone")


def _wanted(nucleus: Nucleus, thing: str, current: EdgeSettings) -> EdgeSettings:
    """The nucleus's present configuration; where it is bad, it is reported, and the last good one stays."""
    try:
        return settings.load(nucleus.configuration(), thing=thing)
    except InvalidSettings as error:
        logger.error("configuration refused, the last good one stays: %s", error)
        return current


if __name__ == "__main__":
    sys.exit(main())
