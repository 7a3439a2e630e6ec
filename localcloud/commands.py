"""`plantwatch up`, `down`, `status`, `reset`, `replay`: the laptop edition on the command line."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from deploy.ensure.core import EnsureFailed
from deploy.ensure.credentials import MissingPrivateKey
from deploy.topology import InvalidTopology
from localcloud import layout as layouts
from localcloud import show
from localcloud.cloud import TENANT, Layout, LocalCloud, NotACloud, NotRunning, NotSetUp
from localcloud.interrupt import heard_once
from localcloud.processes import AlreadyRunning, PortTaken, ProcessDied
from localcloud.region import REPOSITORY
from localcloud.replay import Incomplete, Replay, Via, replay, so_far, summarize
from plantwatch.bundle.container import load
from plantwatch.bundle.model import InvalidBundle
from plantwatch.csvfile import InvalidFile
from plantwatch.ports import DeliveryFailed
from plantwatch.telemetry import InvalidReading, checked_name

DEFAULT_ROOT = REPOSITORY / "build" / "local"
EXIT_FAILED = 1
EXIT_INCOMPLETE = 3
EXIT_INTERRUPTED = 130

Root = Annotated[Path, typer.Option("--root", help="The local cloud's folder.", show_default=False)]
console = Console(stderr=True, highlight=False)


def register(app: typer.Typer) -> None:
    """Add the commands to `plantwatch`."""
    app.command("up")(up)
    app.command("status")(status)
    app.command("down")(down)
    app.command("reset")(reset)
    app.command("replay")(replay_file)


def up(
    root: Root = DEFAULT_ROOT,
    bundle: Annotated[Path | None, typer.Option(help="A model bundle for the gateway and both consumers.")] = None,
) -> None:
    """Start the local cloud (two regions, replicator, gateway, consumers) and leave it running."""
    with explained("stopping what was started"):
        layout = _layout_to_start(root, bundle)
        # Until everything runs, nothing that this command has started outlives it, even if it is killed.
        cloud = LocalCloud(layout, die_with_parent=True)
        log_to(cloud.processes.log_path("commands"))
        try:
            cloud.up(say)
            cloud.processes.release()
        except BaseException:
            cloud.take_back()
            raise
    say("running; try: plantwatch replay FILE.csv --tenant acme --device pump-7 --via edge")


def _layout_to_start(root: Path, bundle: Path | None) -> Layout:
    """That of the cloud which runs in `root`, or a new one. AlreadyRunning where it watches by another bundle."""
    if bundle is not None:
        load(bundle)
    running = layouts.running(root)
    if running is None:
        return Layout(root, bundle_path=str(bundle.resolve()) if bundle else "")
    if bundle is not None and not layouts.watches_by(running, bundle):
        raise AlreadyRunning("running with another bundle: `plantwatch down` first")
    return running


def status(root: Root = DEFAULT_ROOT, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """What runs, how much memory it takes, where its log is. Exit code 1 if anything has died."""
    with explained():
        cloud = LocalCloud.running(root)
    alive = cloud.processes.status()
    rows = [
        {
            "process": name,
            "alive": alive[name],
            "rss_mb": round(sum(cloud.processes.rss_mb(name).values()), 1),
            "log": str(cloud.processes.log_path(name)),
        }
        for name in alive
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        print_status(rows)
    if not all(alive.values()):
        raise typer.Exit(EXIT_FAILED)


def down(root: Root = DEFAULT_ROOT) -> None:
    """Stop the local cloud; what is stored stays for the next `up`."""
    with explained("stopping at once"):
        cloud = LocalCloud(Layout(root))
        anything = bool(cloud.processes.names())
        _stop(cloud)
    say("stopped" if anything else f"nothing to stop: no local cloud runs in {root}")


def reset(root: Root = DEFAULT_ROOT) -> None:
    """Stop the local cloud and forget everything that it stored, certificates included."""
    with explained("stopping at once; nothing was forgotten"):
        cloud = LocalCloud(Layout(root))
        anything = root.exists()
        _stop(cloud)
        cloud.forget()
    say("stopped, and everything forgotten" if anything else f"nothing to forget: there is no {root}")


def _stop(cloud: LocalCloud) -> None:
    """Each process in its own time; all at once where the user has no patience."""
    try:
        cloud.down()
    except KeyboardInterrupt:
        cloud.stop_at_once()
        raise


def replay_file(
    file: Annotated[Path, typer.Argument(help="A CSV file: first column the time, other numeric columns signals.")],
    tenant: Annotated[str, typer.Option(help="Whose machine it is.")],
    device: Annotated[str, typer.Option(help="The machine's name.")],
    via: Annotated[Via, typer.Option(help="Through the gateway, or from a thing of its own.")] = Via.EDGE,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Rows per second; as fast as possible if not given.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON here.")] = None,
    root: Root = DEFAULT_ROOT,
) -> None:
    """Send a file's rows through the whole pipeline and say what became of them.

    Example: plantwatch replay pump.csv --tenant acme --device pump-7 --via edge --report r.json
    """
    with explained(_INTERRUPTED_REPLAY[via]):
        cloud = _cloud_for(root, tenant, device, via)
        if report is not None:
            _expect_writable(report)
        run = Replay(file, device, via)
        try:
            replay(cloud, run, rate=rate, say=say)
            result = summarize(cloud, run, say=say)
        except KeyboardInterrupt:
            say(so_far(cloud, run))
            raise
    if report is not None:
        report.write_text(json.dumps(result, indent=1))
    show.replay_report(Console(highlight=False), result)
    if not result["ok"]:
        raise typer.Exit(EXIT_INCOMPLETE)


_INTERRUPTED_REPLAY: Final = {
    Via.EDGE: "no more rows are sent; those that the gateway has acknowledged are still being stored",
    # A thing keeps what waits in memory, and each region takes it at its own pace.
    Via.THING: "no more rows are sent; those that a region has not acknowledged yet are lost: replay the file again",
}


def _expect_writable(report: Path) -> None:
    """Whether the report can be written is found out before the work, not after; OSError where it cannot."""
    report.parent.mkdir(parents=True, exist_ok=True)
    there = report.exists()
    with report.open("a"):
        pass
    if not there:
        report.unlink()


def _cloud_for(root: Path, tenant: str, device: str, via: Via) -> LocalCloud:
    """The running cloud, if it can take this device's rows."""
    if tenant != TENANT:
        raise InvalidFile(f"the local cloud has one tenant, {TENANT}, not {tenant}")
    checked_name(device)
    cloud = LocalCloud.running(root)
    log_to(cloud.processes.log_path("commands"))
    if via is Via.THING and device in cloud.layout.gateways:
        raise InvalidFile(f"{device} is a gateway: a thing of that name would take its sessions over")
    return cloud


def log_to(file: Path) -> None:
    """What libraries tell of this command, such as broken connections, belongs into a file, not between its lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(filename=file, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")


@contextmanager
def explained(interrupted: str = "nothing was changed") -> Iterator[None]:
    """What a user can do something about is one line, not a traceback; so is Ctrl-C, which says `interrupted`."""
    try:
        with heard_once(interrupted):
            yield
    except _EXPLAINED as error:
        console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        if hint := next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), ""):
            console.print(hint, markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


_HINTS: Mapping[type[Exception], str] = {
    PortTaken: "Is a local cloud (or `make demo`) running? `plantwatch down`, with the --root that it was started with,"
    " stops one that was left. Else end the process that is named.",
    ProcessDied: "`plantwatch up` starts again what has ended, and goes on with what is stored.",
}
_EXPLAINED = (
    AlreadyRunning,
    DeliveryFailed,
    EnsureFailed,
    Incomplete,
    InvalidBundle,
    InvalidFile,
    InvalidReading,
    InvalidTopology,
    MissingPrivateKey,
    NotACloud,
    NotRunning,
    NotSetUp,
    PortTaken,
    ProcessDied,
    OSError,
)


def say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def print_status(rows: list[dict[str, Any]]) -> None:
    table = Table("process", "state", "memory", box=None)
    for row in rows:
        state = "[green]running" if row["alive"] else "[red]died"
        table.add_row(row["process"], state, f"{row['rss_mb']:.0f} MB")
    shown = Console(file=sys.stdout, highlight=False)
    shown.print(table)
    shown.print(f"logs: {Path(rows[0]['log']).parent}", soft_wrap=True)
