"""From the publication of a reading to its alert at the subscriber, at 200 readings/s in all, on a local cloud.

A hundred machines (90 behind the gateway, 10 plain things, 2 readings/s each) learn from history first; then each loses
pressure at a time of its own. The reading that opens the incident was published at its observed time, and the
subscriber notes when the alert came: one clock, so the difference is the latency, the whole path included.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.rows import Row, at_most, publish
from localcloud.cloud import Layout, LocalCloud
from localcloud.demo import watch_over
from localcloud.replay import Send, Via, received_alerts, sender
from localcloud.report import percentiles
from localcloud.simulator.machines import Machine, PressureLoss
from plantwatch.telemetry import TIMESTAMP_KEY, EpochMs

EDGE: Final = tuple(f"edge-{number}" for number in range(90))
THINGS: Final = tuple(f"thing-{number}" for number in range(10))
RATE: Final = 200
PERIOD_MS: Final = 1000 * (len(EDGE) + len(THINGS)) // RATE
HISTORY_READINGS: Final = 700
LIVE_S: Final = 60
# History is sent and scored before the live part begins: 70,000 readings.
CATCH_UP_S: Final = 75
FAULTS_S: Final = (5, 45)
GOAL_P50_MS: Final = 250
GOAL_P99_MS: Final = 500
NAMES: Final = ("publish to alert received, p50", "publish to alert received, p99")


def measure() -> list[Row]:
    with TemporaryDirectory(prefix="plantwatch-bench-") as folder:
        cloud = LocalCloud(Layout.on_free_ports(Path(folder)), die_with_parent=True)
        try:
            cloud.up(lambda _: None)
            latencies = _alert_latencies(cloud)
        finally:
            cloud.down()
    found = percentiles(latencies)
    note = f"{len(latencies)} alerts at {RATE} readings/s"
    return [
        at_most(NAMES[0], GOAL_P50_MS, found["p50"], "ms", note),
        at_most(NAMES[1], GOAL_P99_MS, found["p99"], "ms", note),
    ]


def unmeasured() -> list[Row]:
    return [at_most(NAMES[0], GOAL_P50_MS, None, "ms"), at_most(NAMES[1], GOAL_P99_MS, None, "ms")]


def _alert_latencies(cloud: LocalCloud) -> list[float]:
    live_at = round(time.time() * 1000) + CATCH_UP_S * 1000
    with ThreadPoolExecutor(2) as threads:
        watch_over(
            cloud,
            [
                threads.submit(_send, cloud, EDGE, Via.EDGE, live_at),
                threads.submit(_send, cloud, THINGS, Via.THING, live_at),
            ],
        )
    time.sleep(2)
    openings = [alert for alert in received_alerts(cloud) if alert.is_opening and alert.observed_at >= live_at]
    return [alert.received_at - alert.observed_at for alert in openings]


def _send(cloud: LocalCloud, devices: tuple[str, ...], via: Via, live_at: EpochMs) -> None:
    everyone = EDGE + THINGS
    machines = [Machine(name, 1, [_loss(everyone.index(name), live_at)]) for name in devices]
    with sender(cloud, devices, via) as send:
        for at in _times(live_at):
            _send_round(machines, at, live_at, send)


def _send_round(machines: list[Machine], at: EpochMs, live_at: EpochMs, send: Send) -> None:
    """Each machine in its own part of the period, so that readings come evenly."""
    for index, machine in enumerate(machines):
        observed_at = at + index * PERIOD_MS // len(machines)
        if observed_at >= live_at:
            time.sleep(max(0.0, observed_at / 1000 - time.time()))
        send(machine.name, {TIMESTAMP_KEY: observed_at, **machine.reading(observed_at)})


def _times(live_at: EpochMs) -> Iterator[EpochMs]:
    return iter(range(live_at - HISTORY_READINGS * PERIOD_MS, live_at + LIVE_S * 1000, PERIOD_MS))


def _loss(index: int, live_at: EpochMs) -> PressureLoss:
    first, last = FAULTS_S
    share = index * 37 % 100 / 100  # spread, and not in the order of sending
    return PressureLoss(live_at + round((first + share * (last - first)) * 1000), live_at + LIVE_S * 1000)


if __name__ == "__main__":
    publish("latency", measure())
