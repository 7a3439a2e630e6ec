"""Readings that flow through a local cloud while something happens to it, and what the stores say afterwards."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Final

from localcloud import procfs
from localcloud.cloud import LocalCloud
from localcloud.evidence import Stored, read_region
from localcloud.processes import MARK
from localcloud.replay import Via, lake_views, received_alerts, sender, wait_until_stored
from localcloud.report import ReceivedAlert
from localcloud.simulator.machines import Machine, PressureLoss
from plantwatch.telemetry import TIMESTAMP_KEY, EpochMs, isoformat

LEARN_S: Final = 600
PERIOD_MS: Final = 500
FAULT_AFTER_S: Final = 2.0

Marks = dict[str, set[str]]


@dataclass
class Outcome:
    """What was sent, what each region stored of it, and which alerts came."""

    sent: Marks
    stored: dict[str, Stored]
    alerts: list[ReceivedAlert]

    @property
    def openings(self) -> Counter[tuple[str, str]]:
        """(device, kind) of every alert that opened an incident."""
        return Counter((alert.body["device"], alert.body["kind"]) for alert in self.alerts if alert.is_opening)

    @property
    def repeated(self) -> list[str]:
        counts = Counter(alert.body["alert_id"] for alert in self.alerts)
        return [alert_id for alert_id, count in counts.items() if count > 1]

    def missing(self, role: str) -> Marks:
        return self.stored[role].missing(self.sent)


def while_readings_flow(
    cloud: LocalCloud, name: str, happens: Callable[[], object], *, live_s: float = 12.0
) -> Outcome:
    """Two machines behind the gateway and a plain thing send; after `FAULT_AFTER_S` of the live part all three lose
    pressure, `happens` is called at once, and they go on to the end."""
    now = round(time.time() * 1000)
    edge, things = [f"{name}-edge-1", f"{name}-edge-2"], [f"{name}-thing-1"]
    failures: list[BaseException] = []
    with ThreadPoolExecutor(2) as threads:
        work = [
            threads.submit(_send, cloud, edge, Via.EDGE, now, live_s),
            threads.submit(_send, cloud, things, Via.THING, now, live_s),
        ]
        begin = threading.Timer(_learning_s(cloud) + FAULT_AFTER_S, lambda: _guarded(happens, failures))
        begin.start()
        wait(work)
        begin.join()
    if failures:  # first: whatever else went wrong may follow from it
        raise failures[0]
    sent = {device: marks for future in work for device, marks in future.result().items()}
    return collect(cloud, sent)


def collect(cloud: LocalCloud, sent: Marks) -> Outcome:
    """Wait for the stores, then read them."""
    with cloud.aws():
        views = lake_views(cloud)
        wait_until_stored(cloud, sent, views, say=lambda _: None)
        stored = {
            region.role: read_region(
                cloud.session(region.role), cloud.layout.names(region), views[region.role], devices=sent.keys()
            )
            for region in cloud.layout.regions
        }
    alerts = [alert for alert in received_alerts(cloud) if alert.body["device"] in sent]
    return Outcome(sent, stored, alerts)


def _learning_s(_cloud: LocalCloud) -> float:
    """History goes in as fast as it is taken: about a second for 3 x 1,200 readings, give it two."""
    return 2.0


def _guarded(happens: Callable[[], object], failures: list[BaseException]) -> None:
    try:
        happens()
    except BaseException as error:  # noqa: BLE001 - told to the test's own thread
        failures.append(error)


def _send(cloud: LocalCloud, devices: list[str], via: Via, now: EpochMs, live_s: float) -> Marks:
    live_at = now + round(_learning_s(cloud) * 1000)
    ends_at = live_at + round(live_s * 1000)
    loss = PressureLoss(live_at + round(FAULT_AFTER_S * 1000), ends_at + 3_600_000)
    sent: Marks = {device: set() for device in devices}
    with sender(cloud, devices, via) as send:
        for at in _times(now, ends_at):
            time.sleep(max(0.0, at / 1000 - time.time()))
            for device in devices:
                send(device, {TIMESTAMP_KEY: at, **Machine(device, 1, [loss]).reading(at)})
                sent[device].add(isoformat(at))
    return sent


def _times(now: EpochMs, ends_at: EpochMs) -> Iterator[EpochMs]:
    return iter(range(now - LEARN_S * 1000, ends_at, PERIOD_MS))


def pids(cloud: LocalCloud, process: str, word: str) -> list[int]:
    """Processes that belong to `process` and have `word` in their command line."""
    mark = f"{MARK}={cloud.processes.root}:{process}"
    return [
        found.pid
        for found in procfs.every()
        if procfs.has_variable(found.pid, mark) and any(word in part for part in procfs.argv(found.pid))
    ]


def kill(found: list[int]) -> Any:
    assert found, "nothing to kill"
    for pid in found:
        os.kill(pid, signal.SIGKILL)
