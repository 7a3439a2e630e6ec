"""What AWS does between two regions: global tables both ways, and replication of S3 objects.

One process, four loops: for each direction one for tables and one for objects. The regions tell what has changed (see
`localcloud.emulator.internal_api`); a loop reads from one and applies to the other, and never advances before the other
has it. A region that is down makes the loops wait. Whenever one of the two was restarted (it says so by its epoch),
everything is compared again: the last writer wins, so what is known already changes nothing.

    python -m localcloud.replicator --status status.json [--primary URL] [--dr URL]

The regions' addresses come from the AWS profiles `primary` and `dr` (their `endpoint_url`) where they are not given.
"""

from __future__ import annotations

import argparse
import configparser
import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

# Of one table in one step: about 500 kB of the project's items.
CHANGES_PER_STEP: Final = 500
OBJECTS_PER_STEP: Final = 200
# A step waits this long for a change; it bounds how late a restart is noticed, not how late a change is.
CHANGES_WAIT_S: Final = 1.0
# Under load the next step collects what comes in this time: 20 steps a second at most.
CHANGES_EVERY_S: Final = 0.05
TABLES_EVERY_S: Final = 1.0
# S3 promises minutes; this keeps an idle laptop quiet.
OBJECTS_EVERY_S: Final = 2.0
BACK_OFF_S: Final = (0.2, 0.5, 1.0, 2.0)
REQUEST_TIMEOUT_S: Final = 20.0
# Enough for the percentiles of the last minutes.
LAGS_MAX: Final = 1000


class RegionDown(Exception):
    """The region does not answer, or answers with an error: wait and try again."""


@dataclass
class Peer:
    """One region, as the replicator sees it. `epoch` is that of its last answer."""

    role: str
    url: str
    region: str = ""
    epoch: str = ""

    def call(self, verb: str, **request: Any) -> Json:
        """RegionDown where there is no answer."""
        asked = urllib.request.Request(f"{self.url}/_localcloud/{verb}", json.dumps(request).encode())  # noqa: S310
        try:
            with urllib.request.urlopen(asked, timeout=REQUEST_TIMEOUT_S) as response:  # noqa: S310
                answer: Json = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise RegionDown(f"{self.role}: {verb}: {error}") from error
        self.region, self.epoch = answer["region"], answer["epoch"]
        return answer


@dataclass
class Counts:
    """What one direction has done so far."""

    items: int = 0
    objects: int = 0
    errors: int = 0
    last_error: str = ""
    lags_ms: deque[int] = field(default_factory=lambda: deque(maxlen=LAGS_MAX))

    def as_json(self) -> Json:
        lags = sorted(self.lags_ms)
        return {
            "items": self.items,
            "objects": self.objects,
            "errors": self.errors,
            "last_error": self.last_error,
            "lag_ms": {"p50": _percentile(lags, 0.50), "p99": _percentile(lags, 0.99)},
        }


@dataclass
class Direction:
    """Replication from `source` to `target`. Its two loops share nothing but the counts."""

    source: Peer
    target: Peer
    counts: Counts = field(default_factory=Counts)
    _cursors: dict[str, int] = field(default_factory=dict)
    _compared: set[str] = field(default_factory=set)
    _joined: list[str] = field(default_factory=list)
    _epochs: tuple[str, str] = ("none", "none")
    _look_again_at: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.source.role}->{self.target.role}"

    def tables_step(self) -> None:
        """Join tables that ask for it, then carry over what was written since the last step."""
        if self._restarted() or time.monotonic() >= self._look_again_at:
            self._look_for_tables()
        cursors = {name: self._cursors.get(name, 0) for name in self._joined}
        answer = self.source.call("tables/changes", cursors=cursors, limit=CHANGES_PER_STEP, wait_s=CHANGES_WAIT_S)
        if self._restarted():
            return
        if not answer["changes"]:
            # Nothing to do, or woken because a table wants a replica.
            self._look_again_at = 0.0
        for table, changes in answer["changes"].items():
            self._carry_over(table, changes)

    def _look_for_tables(self) -> None:
        there = self.target.call("tables/list")
        here = self.source.call("tables/list")["tables"]
        if self._restarted():
            self._cursors.clear()
            self._compared.clear()
            self._epochs = (self.source.epoch, self.target.epoch)
        self._joined = [name for name, table in here.items() if self._is_joined(name, table, there)]
        self._look_again_at = time.monotonic() + TABLES_EVERY_S

    def _is_joined(self, name: str, table: Json, there: Json) -> bool:
        """Whether both regions have the table now; the target is made to have it, unless it has ended that itself."""
        status = table["replicas"].get(self.target.region)
        if status is None:
            return False
        known = self.source.region in there["tables"].get(name, {"replicas": ()})["replicas"]
        if not known and status == "ACTIVE" and name in there["left"]:
            self.source.call("tables/leave", table=name, peer=self.target.region)
            return False
        if not known:
            self.target.call("tables/join", definition=table["definition"], ttl=table["ttl"], peer=self.source.region)
        if status != "ACTIVE":
            self.source.call("tables/activate", table=name, peer=self.target.region)
        return True

    def _carry_over(self, table: str, changes: list[Json]) -> None:
        # No echo: the target knows what it wrote itself, unless it was killed and has forgotten the last of it.
        if table in self._compared:
            sent = [change for change in changes if change["region"] != self.target.region]
        else:
            sent = changes
        if sent:
            applied = self.target.call("tables/apply", table=table, changes=sent)["applied"]
            self.counts.items += len(applied)
            now = time.time() * 1000
            self.counts.lags_ms.extend(int(now - written_at) for written_at in applied)
        if self._restarted():
            return
        self._cursors[table] = changes[-1]["sequence"]
        if len(changes) < CHANGES_PER_STEP:
            self._compared.add(table)

    def _restarted(self) -> bool:
        """Whether one of the two has another epoch than when all was compared."""
        return self._epochs != (self.source.epoch, self.target.epoch)

    def objects_step(self) -> None:
        """Carry over objects whose replica is not there yet."""
        pending = self.source.call("objects/pending", limit=OBJECTS_PER_STEP)["objects"]
        if not pending:
            return
        answer = self.target.call("objects/missing", objects=pending)
        for each in answer["missing"]:
            copy = self.source.call("objects/read", bucket=each["bucket"], key=each["key"])
            content = {"headers": copy["headers"], "body": copy["body"]}
            self.target.call("objects/write", bucket=each["destination"], key=each["key"], **content)
            self.counts.objects += 1
        waiting = {(each["bucket"], each["key"]) for each in answer["waiting"]}
        done = [each for each in pending if (each["bucket"], each["key"]) not in waiting]
        self.source.call("objects/complete", objects=done)


def keep_doing(step: Callable[[], None], counts: Counts, stopping: threading.Event, pause_s: float) -> None:
    """Repeat the step until the end; back off while a region is down."""
    failures = 0
    while not stopping.is_set():
        try:
            step()
            failures = 0
            stopping.wait(pause_s)
        except RegionDown as error:
            counts.errors += 1
            counts.last_error = str(error)
            stopping.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1


class Replicator:
    """Both directions, each on two threads."""

    def __init__(self, primary_url: str, dr_url: str) -> None:
        # A Peer for each loop: an epoch is of the conversation in which it was heard.
        self._tables = _directions(primary_url, dr_url)
        self._objects = _directions(primary_url, dr_url)
        for tables, objects in zip(self._tables, self._objects, strict=True):
            objects.counts = tables.counts
        self._stopping = threading.Event()
        self._threads = [
            *(self._thread(each, each.tables_step, CHANGES_EVERY_S) for each in self._tables),
            *(self._thread(each, each.objects_step, OBJECTS_EVERY_S) for each in self._objects),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when every step that was under way is done."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def status(self) -> Json:
        """Counts and lag (ms from the write in one region to its application in the other) of each direction."""
        return {direction.name: direction.counts.as_json() for direction in self._tables}

    def _thread(self, direction: Direction, step: Callable[[], None], pause_s: float) -> threading.Thread:
        arguments = (step, direction.counts, self._stopping, pause_s)
        return threading.Thread(target=keep_doing, args=arguments, name=direction.name, daemon=True)


def _directions(primary_url: str, dr_url: str) -> list[Direction]:
    return [
        Direction(Peer("primary", primary_url), Peer("dr", dr_url)),
        Direction(Peer("dr", dr_url), Peer("primary", primary_url)),
    ]


def _percentile(in_order: list[int], share: float) -> int | None:
    return in_order[min(len(in_order) - 1, int(len(in_order) * share))] if in_order else None


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def endpoint_of(profile: str) -> str:
    """The profile's `endpoint_url` in AWS_CONFIG_FILE; KeyError where there is none."""
    config = configparser.ConfigParser()
    config.read(os.environ["AWS_CONFIG_FILE"])
    return config[f"profile {profile}"]["endpoint_url"]


def write_status(path: Path, status: Json) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(status, indent=1))
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="localcloud.replicator", description="Replicate between the two regions.")
    parser.add_argument("--primary", help="URL of the primary region (default: AWS profile `primary`)")
    parser.add_argument("--dr", help="URL of the DR region (default: AWS profile `dr`)")
    parser.add_argument("--status", type=Path, required=True, help="JSON file for counts and lag")
    parser.add_argument("--status-every-s", type=float, default=10.0)
    arguments = parser.parse_args()
    replicator = Replicator(arguments.primary or endpoint_of("primary"), arguments.dr or endpoint_of("dr"))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    replicator.start()
    last = None
    while not ended.wait(arguments.status_every_s):
        write_status(arguments.status, replicator.status())
        if replicator.status() != last:
            last = replicator.status()
            say(json.dumps(last))
    replicator.stop()
    write_status(arguments.status, replicator.status())


if __name__ == "__main__":
    main()
