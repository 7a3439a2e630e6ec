"""`make demo`: the main job from an empty machine to a report, by itself.

Provisions two regions, starts everything, lets a plant run (learning faster than real time, then three faults), replays
a recorded series, and judges the run by what the stores hold. Exit code 0 only if the report is `ok`.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console

from localcloud import fleet, series, show
from localcloud import plant as plants
from localcloud.alone import alone_in
from localcloud.cloud import Layout, LocalCloud
from localcloud.commands import explained, log_to
from localcloud.evidence import LakeView, read_region
from localcloud.plant import Plant, Tick
from localcloud.region import REPOSITORY
from localcloud.replay import (
    Replay,
    Send,
    Via,
    lake_views,
    received_alerts,
    replay,
    sender,
    things_sender,
    wait_until_stored,
)
from localcloud.report import Expected, Facts, build
from plantwatch.telemetry import TIMESTAMP_KEY, isoformat

INTERRUPTED: Final = "stopping everything"
FOLDER: Final = REPOSITORY / "build" / "demo"
_WATCH_S: Final = 0.2
_SETTLE_S: Final = 2.0

Marks = dict[str, set[str]]


class Stopwatch:
    """Says lines with the seconds since the start, from any thread."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._started

    def say(self, line: str) -> None:
        self._console.print(f"[dim]{self.elapsed_s:5.0f} s[/]  {line}", highlight=False)


class AlertWatch:
    """Prints each alert when the subscriber gets it."""

    def __init__(self, cloud: LocalCloud, stopwatch: Stopwatch) -> None:
        self._cloud = cloud
        self._stopwatch = stopwatch
        self._stopped = threading.Event()
        self._seen = 0
        self._thread = threading.Thread(target=self._run, name="alert-watch", daemon=True)

    def __enter__(self) -> AlertWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_WATCH_S):
            alerts = received_alerts(self._cloud)
            for alert in alerts[self._seen :]:
                style = "red" if alert.is_opening else "green"
                self._stopwatch.say(f"[{style}]alert[/]  {alert.body['text']}")
            self._seen = len(alerts)


def run(cloud: LocalCloud, stopwatch: Stopwatch) -> dict[str, Any]:
    """Everything between `up` and `down`; returns the report."""
    plant = Plant(round(time.time() * 1000))
    with AlertWatch(cloud, stopwatch):
        stopwatch.say(
            f"{len(plants.GATEWAY_MACHINES)} machines behind a gateway, {len(plants.THINGS)} plain things:"
            f" learning {plants.LEARN_S * plants.SPEED // 60} minutes in {plants.LEARN_S} s"
        )
        edge, things = run_plant(cloud, plant, stopwatch)
        recorded, expected = replay_recorded(cloud, stopwatch)
        sent = {"edge": edge, "thing": things, "replay": {recorded.device: recorded.sent}}
        return judge(cloud, plant, sent, [*plant.expected(), *expected], stopwatch)


class Interrupted(Exception):
    """The demo ends before the plant has said everything."""


def run_plant(cloud: LocalCloud, plant: Plant, stopwatch: Stopwatch) -> tuple[Marks, Marks]:
    """Let the plant run to its end; returns what the gateway's machines and what the things have sent."""
    ended = threading.Event()
    threads = ThreadPoolExecutor(3)
    edge = threads.submit(send_by_gateway, cloud, plant, ended)
    things = threads.submit(send_by_things, cloud, plant, ended)
    threads.submit(announce_live, plant, ended, stopwatch)
    try:
        watch_over(cloud, [edge, things])
        return edge.result(), things.result()
    finally:
        ended.set()
        # Whoever interrupts does not wait for acknowledgements.
        threads.shutdown(wait=False)


def announce_live(plant: Plant, ended: threading.Event, stopwatch: Stopwatch) -> None:
    if not ended.wait(plant.live_at / 1000 - time.time()):
        stopwatch.say("live: one second is a second now; the faults begin soon")


def watch_over(cloud: LocalCloud, work: Sequence[Future[Any]]) -> None:
    """Wait for the work; ProcessDied as soon as a process of the cloud dies meanwhile."""
    while not all(future.done() for future in work):
        cloud.processes.check_alive()
        time.sleep(_WATCH_S)


def send_by_gateway(cloud: LocalCloud, plant: Plant, ended: threading.Event) -> Marks:
    with sender(cloud, plants.GATEWAY_MACHINES, Via.EDGE) as send:
        return send_ticks(plant.ticks(plants.GATEWAY_MACHINES, plants.GATEWAY_PERIOD_MS), send, ended)


def send_by_things(cloud: LocalCloud, plant: Plant, ended: threading.Event) -> Marks:
    with things_sender(cloud, plants.THINGS) as send:
        for payload in plants.BROKEN_PAYLOADS:
            send.raw(plants.THINGS[-1], payload)
        return send_ticks(plant.ticks(plants.THINGS, plants.THING_PERIOD_MS), send, ended)


def send_ticks(ticks: Iterable[Tick], send: Send, ended: threading.Event) -> Marks:
    """Send each at its time; Interrupted as soon as `ended` is set."""
    sent: Marks = {}
    for tick in ticks:
        if ended.wait(max(0.0, tick.send_at - time.time())):
            raise Interrupted
        send(tick.machine, {TIMESTAMP_KEY: tick.observed_at, **tick.values})
        sent.setdefault(tick.machine, set()).add(isoformat(tick.observed_at))
    return sent


def replay_recorded(cloud: LocalCloud, stopwatch: Stopwatch) -> tuple[Replay, list[Expected]]:
    """A recorded series through the same path, and the alerts that its labels justify."""
    recorded = series.find_or_make(FOLDER)
    stopwatch.say(f"replaying {recorded.title} as {recorded.device}")
    run = replay(cloud, Replay(recorded.file, recorded.device, Via.EDGE), say=lambda _: None)
    return run, [Expected(recorded.device, recorded.title, "", recorded.windows)]


def judge(
    cloud: LocalCloud, plant: Plant, sent: Mapping[str, Marks], expected: Sequence[Expected], stopwatch: Stopwatch
) -> dict[str, Any]:
    """Wait until everything is stored, read it back, and build the report."""
    stopwatch.say("waiting until every reading is stored in both regions")
    with cloud.aws():
        views = lake_views(cloud)
        everything = {device: marks for devices in sent.values() for device, marks in devices.items()}
        wait_until_stored(cloud, everything, views, say=stopwatch.say)
        time.sleep(_SETTLE_S)
        stored = {
            region.role: read_region(cloud.session(region.role), cloud.layout.names(region), views[region.role])
            for region in cloud.layout.regions
        }
    return build(
        Facts(
            sent=sent,
            stored=stored,
            alerts=received_alerts(cloud),
            expected=expected,
            store_delays_ms=store_delays(views["primary"], plant),
            live_devices=frozenset((*plants.GATEWAY_MACHINES, *plants.THINGS)),
            live_at=plant.live_at,
            rss_mb={
                f"{name}: {what}": size
                for name in cloud.processes.names()
                for what, size in cloud.processes.rss_mb(name).items()
            },
            duration_s=stopwatch.elapsed_s,
            refused=len(plants.BROKEN_PAYLOADS),
        )
    )


def store_delays(lake: LakeView, plant: Plant) -> list[float]:
    """Milliseconds from the observation (which is when it was published) to the row in the lake, in the live part."""
    live, machines = isoformat(plant.live_at), {*plants.GATEWAY_MACHINES, *plants.THINGS}
    return [
        series.epoch_ms(row["stored_at"]) - series.epoch_ms(row["observed_at"])
        for row in lake.rows(machines)
        if row["observed_at"] >= live
    ]


def main() -> int:
    console = Console(highlight=False)
    stopwatch = Stopwatch(console)
    file = FOLDER / "report.json"
    try:
        with explained(INTERRUPTED), alone_in(FOLDER):
            LocalCloud(Layout(FOLDER / "cloud")).expect_stopped()
            file.unlink(missing_ok=True)
            report = run_all(stopwatch)
            file.write_text(json.dumps(report, indent=1))
    except typer.Exit as ended:  # explained already
        return ended.exit_code
    show.demo_report(console, report)
    where_next(console, file)
    return 0 if report["ok"] else 1


def run_all(stopwatch: Stopwatch) -> dict[str, Any]:
    """A new cloud, the run, the report; nothing runs any more when it returns, or raises."""
    hours, machines = fleet.RECORDED_S // 3600, len(fleet.MACHINES)
    stopwatch.say(f"learning a bundle: what {machines} older machines of the type recorded in {hours} hours each")
    layout = Layout(FOLDER / "cloud", things=plants.THINGS, bundle_path=str(fleet.learn_fleet(FOLDER)))
    cloud = LocalCloud(layout, die_with_parent=True)
    log_to(cloud.processes.log_path("demo"))
    try:
        cloud.forget()
        cloud.up(stopwatch.say)
        report = run(cloud, stopwatch)
        stopwatch.say("stopping")
        cloud.down()
    except BaseException:
        cloud.take_back()
        raise
    return report


def where_next(console: Console, report: Path) -> None:
    here = Path.cwd()
    shown = report.relative_to(here) if report.is_relative_to(here) else report
    console.print(f"\nReport: {shown}    Logs: {shown.parent / 'cloud' / 'logs'}")
    console.print("Your own series: .venv/bin/plantwatch up, then .venv/bin/plantwatch replay --help")


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Threads of an interrupted run may still wait for acknowledgements, and Python would wait for them.
    os._exit(code)
