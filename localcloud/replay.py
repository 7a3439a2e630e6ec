"""Send the rows of a CSV file through the whole pipeline of a running local cloud, wait, and report.

Each row carries the attribute `row` (the replay's name and the line's number), so that what is stored can be compared
with what was sent row by row, also when two rows are alike.
"""

from __future__ import annotations

import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge_component.nucleus import NucleusAddress
from edge_component.sources.local_topics import SEQUENCE_KEY, SOURCE_KEY
from localcloud.cloud import TENANT, LocalCloud
from localcloud.evidence import MARK, LakeView, Stored, mark_of_row, read_region
from localcloud.report import ReceivedAlert, alert_fields
from localcloud.simulator.local_source import LocalSource
from localcloud.simulator.thing_publisher import ThingPublisher
from plantwatch.csvfile import BadRow, InvalidFile, Row, columns_of, read_rows, signals_of
from plantwatch.ports import DeliveryFailed
from plantwatch.telemetry import ATTRIBUTES_MAX, TIMESTAMP_KEY, InvalidReading

# Nothing new stored anywhere for so long: what is still missing will not come. A consumer that starts needs 15 s, one
# whose daemon was killed a minute.
QUIET_S_MAX: Final = 120.0
_POLL_S: Final = 0.5
# How long a full queue may stay full, and how often we look meanwhile whether anybody is there to empty it.
_SEND_S_MAX: Final = 60.0
_LOOK_S: Final = 2.0
_SETTLE_S: Final = 1.0
# Of each region's lake; a series of a year lies in hundreds of objects.
_SO_FAR_S: Final = 0.8
# The store notes when it was written to in whole seconds.
_CLOCK_STEP_S: Final = 2.0
_RESERVED: Final = frozenset({TIMESTAMP_KEY, SOURCE_KEY, SEQUENCE_KEY, MARK})

Progress = Callable[[str], None]
Send = Callable[[str, Mapping[str, Any]], None]
"""Sends one reading's fields (with `ts`) as a device."""


class Via(StrEnum):
    """How rows enter: by the gateway's local bus, or from a thing with its own certificate."""

    EDGE = "edge"
    THING = "thing"


class Incomplete(Exception):
    """Not everything that was sent has been acknowledged or stored in time."""


class RefusedRow(NamedTuple):
    """A row that became no stored reading, where that was decided (`file`, `local bus`, `broker`, or a region's role),
    and why."""

    number: int
    by: str
    reason: str
    detail: str


@dataclass
class Replay:
    """One replay: what was sent, what was refused before it could be sent."""

    file: Path
    device: str
    via: Via
    name: str = field(default_factory=lambda: secrets.token_hex(4))
    started_at: float = field(default_factory=time.time)
    sent: set[str] = field(default_factory=set)
    refused: list[RefusedRow] = field(default_factory=list)
    views: Mapping[str, LakeView] = field(default_factory=dict)
    """What has been read back so far, by region."""

    @property
    def count(self) -> str:
        return f"{len(self.sent)} rows sent, {len(self.refused)} refused"

    def is_mine(self, mark: str) -> bool:
        return mark.startswith(f"{self.name}:")


def replay(cloud: LocalCloud, run: Replay, *, rate: float | None = None, say: Progress = print) -> Replay:
    """Send every good row, in the file's order, at `rate` rows/s (None: as fast as they are taken). What was sent so
    far is in `run` at any time."""
    expect_sendable(run.file)
    cloud.processes.check_alive()
    say(columns_text(run.file))
    rows = read_rows(run.file, received_at=round(time.time() * 1000))
    with sender(cloud, [run.device], run.via) as send:
        for row in _paced(rows, rate):
            if _send_row(run, row, send) and len(run.sent) % 1000 == 0:
                say(f"{len(run.sent)} rows sent")
    say(run.count)
    return run


def _send_row(run: Replay, row: Row | BadRow, send: Send) -> bool:
    """Whether it could be sent; notes in `run` what became of it."""
    if isinstance(row, BadRow):
        run.refused.append(RefusedRow(row.number, "file", str(row.reason), row.detail))
        return False
    mark = f"{run.name}:{row.number}"
    try:
        send(run.device, _fields(row, mark))
    except InvalidReading as error:
        by = "local bus" if run.via is Via.EDGE else "broker"
        run.refused.append(RefusedRow(row.number, by, str(error.reason), error.detail))
        return False
    run.sent.add(mark)
    return True


def expect_sendable(file: Path) -> None:
    """InvalidFile where a column's name means something else in a message, where there are too many of words, or where
    no row is a reading."""
    columns, signals = columns_of(file), signals_of(file)
    for name in columns:
        if name in _RESERVED:
            raise InvalidFile(f"{file}: a column is named {name!r}, which a message keeps for itself; rename it")
    if (words := len(columns) - len(signals)) >= ATTRIBUTES_MAX:
        raise InvalidFile(f"{file}: {words} columns hold words, at most {ATTRIBUTES_MAX - 1} are allowed")
    bad = None
    for row in read_rows(file, received_at=round(time.time() * 1000)):
        if isinstance(row, Row):
            return
        bad = bad or row
    why = f"no row is a reading; row {bad.number}: {bad.reason} ({bad.detail})" if bad else "no rows below the header"
    raise InvalidFile(f"{file}: {why}")


def columns_text(file: Path) -> str:
    """What the columns were taken for: a signal that was taken for words shows here."""
    signals = signals_of(file)
    words = [name for name in columns_of(file) if name not in signals]
    return f"signals: {', '.join(signals)}" + (f"; attributes: {', '.join(words)}" if words else "")


class ThingsSender:
    """Sends readings as plain things; `raw` sends any bytes, also what will be refused."""

    def __init__(self, things: Mapping[str, ThingPublisher], check_alive: Callable[[], None]) -> None:
        self._things = things
        self._check_alive = check_alive

    def __call__(self, device: str, fields: Mapping[str, Any]) -> None:
        rest = {name: value for name, value in fields.items() if name != TIMESTAMP_KEY}
        thing, ts = self._things[device], fields[TIMESTAMP_KEY]
        patiently(self._check_alive, lambda timeout_s: thing.publish(rest, ts, timeout_s=timeout_s))

    def raw(self, device: str, payload: bytes) -> None:
        self._things[device].publish_bytes(payload)


@contextmanager
def sender(cloud: LocalCloud, devices: Sequence[str], via: Via, *, drain_s: float = QUIET_S_MAX) -> Iterator[Send]:
    """Sends as any of `devices`; on leaving waits until everything is acknowledged. Incomplete where it is not."""
    if via is Via.THING:
        with things_sender(cloud, devices, drain_s) as send:
            yield send
    else:
        with LocalSource(NucleusAddress(str(cloud.layout.socket_path), cloud.simulator_token())) as source:
            yield lambda device, fields: patiently(
                cloud.processes.check_alive, lambda timeout_s: source.send(device, fields, timeout_s=timeout_s)
            )
            if not _drained(cloud, source, drain_s):
                raise Incomplete(f"not acknowledged by the edge component within {drain_s:g} s")


@contextmanager
def things_sender(cloud: LocalCloud, devices: Sequence[str], drain_s: float = QUIET_S_MAX) -> Iterator[ThingsSender]:
    """Each device is a thing with its own certificate and a connection to each region."""
    with ExitStack() as stack:
        things: dict[str, ThingPublisher] = {}
        for device in devices:
            cloud.onboard_thing(device)
            endpoints = {region.role: cloud.layout.mqtt_endpoint(device, region) for region in cloud.layout.regions}
            things[device] = stack.enter_context(ThingPublisher(TENANT, device, endpoints))
        yield ThingsSender(things, cloud.processes.check_alive)
        late = [
            f"{device}: {thing.health_text()}"
            for device, thing in things.items()
            if not _drained(cloud, thing, drain_s)
        ]
        if late:
            raise Incomplete(f"not acknowledged by both regions: {', '.join(late)}")


def patiently(check_alive: Callable[[], None], send: Callable[[float], None]) -> None:
    """`send` (seconds to wait for room) until it is taken; ProcessDied as soon as who shall take it is dead,
    DeliveryFailed where it lives and takes nothing."""
    deadline = time.monotonic() + _SEND_S_MAX
    while True:
        try:
            return send(_LOOK_S)
        except DeliveryFailed:
            check_alive()
            if time.monotonic() > deadline:
                raise


def _drained(cloud: LocalCloud, sending: LocalSource | ThingPublisher, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not sending.drain(_LOOK_S):
        cloud.processes.check_alive()
        if time.monotonic() > deadline:
            return False
    return True


def wait_until_stored(
    cloud: LocalCloud, sent: Mapping[str, set[str]], views: Mapping[str, LakeView], *, say: Progress = print
) -> None:
    """Until both regions hold every mark of every device, as a row or as a dead letter, or nothing more has come for a
    while."""
    wanted = sum(map(len, sent.values())) * len(views)
    before, moved_at = -1, time.monotonic()
    while time.monotonic() - moved_at < QUIET_S_MAX:
        cloud.processes.check_alive()
        for view in views.values():
            view.refresh()
        stored = sum(len(_settled(sent, view)) for view in views.values())
        if stored == wanted:
            return
        if stored != before:
            before, moved_at = stored, time.monotonic()
            say(f"stored {stored} of {wanted} rows in {len(views)} regions")
        time.sleep(_POLL_S)


def _settled(sent: Mapping[str, set[str]], view: LakeView) -> set[tuple[str, str]]:
    """(device, mark) of what is stored or refused in one region by now."""
    found = {(device, mark) for device, marks in view.marks(sent.keys()).items() for mark in marks}
    found |= {(letter.device, letter.mark) for letter in view.refused()}
    return {(device, mark) for device, mark in found if mark in sent.get(device, ())}


def lake_views(cloud: LocalCloud, *, since: float = 0.0) -> dict[str, LakeView]:
    """One view per region's role; make and use them within `cloud.aws()`."""
    return {
        region.role: LakeView(cloud.session(region.role).client("s3"), cloud.layout.names(region), since=since)
        for region in cloud.layout.regions
    }


def so_far(cloud: LocalCloud, run: Replay) -> str:
    """What an interrupted replay has done: one line, soon."""
    with cloud.aws():
        views = run.views or lake_views(cloud, since=run.started_at - _CLOCK_STEP_S)
        regions = []
        for role, view in views.items():
            at_least = "" if view.refresh(_SO_FAR_S) else "at least "
            regions.append(f"{at_least}{len(_settled({run.device: run.sent}, view))} in {role}")
    return f"{run.count}; stored so far: {', '.join(regions)}"


def summarize(cloud: LocalCloud, run: Replay, *, say: Progress = print) -> dict[str, Any]:
    """Wait for the stores, then the replay's report."""
    with cloud.aws():
        views = run.views = lake_views(cloud)
        wait_until_stored(cloud, {run.device: run.sent}, views, say=say)
        time.sleep(_SETTLE_S)  # the last alert is sent before its reading is stored, but takes its way by HTTP
        stored = {
            region.role: only_mine(
                read_region(
                    cloud.session(region.role), cloud.layout.names(region), views[region.role], devices={run.device}
                ),
                run,
            )
            for region in cloud.layout.regions
        }
    refused = {role: _refused_there(role, view, run) for role, view in views.items()}
    alerts = [
        alert
        for alert in received_alerts(cloud)
        if alert.body["device"] == run.device and alert.received_at >= run.started_at * 1000
    ]
    regions = {role: _region(found, refused[role], run) for role, found in stored.items()}
    return {
        "ok": bool(run.sent) and all(not region["missing"] and not region["duplicate"] for region in regions.values()),
        "file": str(run.file),
        "tenant": TENANT,
        "device": run.device,
        "via": str(run.via),
        "duration_s": round(time.time() - run.started_at, 1),
        "sent": len(run.sent),
        "known_before": _known_before(views["primary"], run),
        "bad_rows": [_bad_row(row) for row in _once([*run.refused, *chain.from_iterable(refused.values())])],
        "regions": regions,
        "alerts": [alert_fields(alert) for alert in alerts if alert.is_opening],
    }


def _refused_there(role: str, view: LakeView, run: Replay) -> list[RefusedRow]:
    """This replay's rows among a region's dead letters."""
    return [
        RefusedRow(int(letter.mark.rpartition(":")[2]), role, letter.reason, letter.detail)
        for letter in view.refused()
        if letter.device == run.device and letter.mark in run.sent
    ]


def _once(rows: Iterable[RefusedRow]) -> list[RefusedRow]:
    """Each row of the file once, in its order, although both regions refuse it."""
    return sorted({row.number: row for row in sorted(rows, reverse=True)}.values())


def _bad_row(row: RefusedRow) -> dict[str, Any]:
    return {"row": row.number, "refused_by": row.by, "reason": row.reason, "detail": row.detail}


def _known_before(view: LakeView, run: Replay) -> int:
    """Rows of this replay with an observed time of which the device had a reading before: the same file again."""
    mine: set[str] = set()
    others: set[str] = set()
    for row in view.rows({run.device}):
        (mine if mark_of_row(row) in run.sent else others).add(row["observed_at"])
    return len(mine & others)


def only_mine(stored: Stored, run: Replay) -> Stored:
    """What belongs to this replay, of all that the device ever sent."""
    for counts in (*stored.stream.values(), *stored.lake.values()):
        for mark in [mark for mark in counts if not run.is_mine(mark)]:
            del counts[mark]
    return stored


def received_alerts(cloud: LocalCloud) -> list[ReceivedAlert]:
    """What the subscriber has received so far."""
    file = cloud.layout.alerts_file
    lines = file.read_text().splitlines() if file.exists() else []
    return [ReceivedAlert(line["message"], line["received_at"]) for line in map(json.loads, lines)]


def _region(stored: Stored, refused: Sequence[RefusedRow], run: Replay) -> dict[str, Any]:
    accounted = {f"{run.name}:{row.number}" for row in refused}
    missing = stored.missing({run.device: run.sent - accounted})
    reasons = Counter(row.reason for row in refused)
    return {
        "region": stored.region,
        "received": stored.received,
        "redelivered": stored.redelivered,
        "duplicate": stored.duplicate,
        "missing": sum(map(len, missing.values())),
        "rejected": reasons.total(),
        "rejected_by_reason": dict(sorted(reasons.items())),
        "lake_rows": stored.lake_rows,
    }


def _fields(row: Row, mark: str) -> dict[str, Any]:
    """The mark stands first: it shall be found in the beginning of a payload that was refused and cut."""
    missing = dict.fromkeys(row.missing)
    return {TIMESTAMP_KEY: row.observed_at, MARK: mark, **row.signals, **missing, **row.attributes}


def _paced(rows: Iterator[Row | BadRow], rate: float | None) -> Iterator[Row | BadRow]:
    started = time.monotonic()
    for index, row in enumerate(rows):
        if rate:
            time.sleep(max(0.0, started + index / rate - time.monotonic()))
        yield row
