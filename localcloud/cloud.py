"""The laptop edition as a whole: what runs, in which order it starts, where its files lie.

build/local/
  cloud.json      ports and tenant, so that a later command finds what an earlier one started
  run/, logs/     one file per process
  state/          the regions' state (survives `down`, not `reset`)
  aws/config      AWS profiles `primary` and `dr`
  ca/ things/     trust anchors; certificates and keys (0600)
  gateway/        the nucleus's folder, with the edge component's durable queue
  consumer-*/     the daemons' folders
  alerts.jsonl    what the subscriber received
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import boto3

from deploy import topology
from deploy.ensure.clients import Target
from deploy.provision import onboard_thing, provision
from localcloud import layout as layouts
from localcloud import region as regions
from localcloud.layout import CLOUD_FILE, TENANT, Layout
from localcloud.processes import AlreadyRunning, ProcessSpec, ProcessTable
from localcloud.region import REPOSITORY, Region
from localcloud.simulator.local_source import ACCESS_CONTROL

__all__ = ["TENANT", "Layout", "LocalCloud", "NotACloud", "NotRunning", "NotSetUp"]

COMPONENT: Final = "com.plantwatch.EdgeScorer"
RECIPE: Final = REPOSITORY / "recipes" / "com.plantwatch.EdgeScorer-1.0.0.json"
SIMULATOR: Final = "com.plantwatch.Simulator"
# Made by the process table, which may be in use.
_KEPT: Final = frozenset({"run", "logs"})

Say = Callable[[str], None]
"""Told what happens now, one line at a time."""


class NotRunning(Exception):
    """The command needs a running local cloud."""


class NotACloud(Exception):
    """The folder is somebody's, and no local cloud's."""


class NotSetUp(Exception):
    """Something that `make setup` installs or asks for is missing."""


class LocalCloud:
    """Starts, stops and describes one local cloud. `die_with_parent`: nothing outlives the calling process."""

    def __init__(self, layout: Layout, *, die_with_parent: bool = False) -> None:
        self.layout = layout
        self.processes = ProcessTable(layout.root, die_with_parent=die_with_parent)

    @classmethod
    def running(cls, root: Path) -> LocalCloud:
        """The cloud that an earlier command started in `root`; NotRunning where there is none."""
        layout = layouts.saved(root)
        if layout is None or not ProcessTable(root).names():
            raise NotRunning("the local cloud is not running: start it with `plantwatch up`")
        return cls(layout)

    def up(self, say: Say) -> None:
        """Start everything that is not running; provision. Raises what tells the user which part failed and why;
        AlreadyRunning where a cloud of another layout (ports, things, bundle) runs in the folder."""
        _expect_set_up()
        self._remember()
        say("starting two regions")
        self.start_regions()
        say(f"provisioning tenant {TENANT} in {self.layout.primary.name} and {self.layout.dr.name}")
        # AWS makes a table's replica itself, and confirms a subscription: what does so here has to run before.
        self._start(self.replicator_spec())
        self._start(self.receiver_spec())
        report = self.provision()
        say("provisioned: " + ", ".join(f"{count} {action}" for action, count in report.counts.items() if count))
        say("starting gateway and consumers")
        for region in self.layout.regions:
            self._start(self.consumer_spec(region))
        self._start(self.gateway_spec())
        self.processes.check_alive()

    def _remember(self) -> None:
        """Write down what this cloud is, unless it runs and is written down already."""
        root, running = self.layout.root, layouts.running(self.layout.root)
        if running == self.layout:
            return
        if running is not None:
            raise AlreadyRunning(f"another local cloud is running in {root}: `plantwatch down` first")
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o700)  # the regions keep their CA's and servers' private keys below
        layouts.save(self.layout)

    def start_regions(self) -> None:
        for region in self.layout.regions:
            self._start(regions.emulator_spec(region, self.layout.root / "state"))
        regions.write_aws_config(self.layout.aws_config, self.layout.regions)
        for region in self.layout.regions:
            self._wait_ready(region)
            path = self.layout.ca_path(region)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(regions.fetch_ca(region))

    def provision(self) -> Any:
        with self.aws():
            return provision(
                self.layout.tenant,
                self._targets(),
                credentials_dir=self.layout.credentials_dir,
                http_subscriber=f"http://{regions.HOST}:{self.layout.receiver_port}/",
            )

    def onboard_thing(self, name: str) -> None:
        """A plain thing with its certificate in both regions; one that is there stays as it is."""
        with self.aws():
            onboard_thing(self.layout.tenant, name, self._targets(), credentials_dir=self.layout.credentials_dir)

    def stop_region(self, role: str) -> None:
        self.processes.stop(f"region-{role}")

    def start_region(self, role: str) -> None:
        region = self.layout.region(role)
        self._start(regions.emulator_spec(region, self.layout.root / "state"))
        self._wait_ready(region)

    def down(self) -> None:
        # A consumer whose shards were split or merged takes the whole of its daemon's 30 s (KCL 3.1.3).
        self.processes.stop_all(grace_s=40)
        self.processes.close()
        self.layout.socket_path.unlink(missing_ok=True)

    def stop_at_once(self) -> None:
        """For an interrupted `down`: everything in about three seconds. What is stored stays; what was on its way is
        sent again after the next `up`."""
        self.processes.stop_at_once()
        self.processes.close()
        self.layout.socket_path.unlink(missing_ok=True)

    def take_back(self) -> None:
        """For an `up` that failed or was interrupted: stop at once what this object has started. What ran before it
        goes on running."""
        self.processes.stop_at_once(started_by=self.processes.starter)
        self.processes.close()
        if not self.processes.alive("gateway"):
            self.layout.socket_path.unlink(missing_ok=True)

    def reset(self) -> None:
        """Stop everything and forget everything that was stored."""
        self.down()
        self.forget()

    def forget(self) -> None:
        """Remove what a stopped cloud has stored. NotACloud for a folder with files that no local cloud made."""
        self.expect_stopped()
        entries = list(self.layout.root.iterdir()) if self.layout.root.exists() else []
        if not (self.layout.root / CLOUD_FILE).exists() and {entry.name for entry in entries} - _KEPT:
            raise NotACloud(f"{self.layout.root} holds files, and no local cloud: nothing was removed")
        # What says that the folder is ours goes last, or an interrupted removal could not be repeated.
        for entry in sorted(entries, key=lambda entry: entry.name == CLOUD_FILE):
            if entry.is_dir() and entry.name not in _KEPT:
                shutil.rmtree(entry)
            elif not entry.is_dir():
                entry.unlink()

    def expect_stopped(self) -> None:
        """AlreadyRunning unless nothing runs in the folder."""
        if any(self.processes.status().values()):
            raise AlreadyRunning(f"a local cloud is running in {self.layout.root}: `plantwatch down` first")

    @contextmanager
    def aws(self) -> Iterator[None]:
        """Within: this process's AWS is the two regions, by their profiles, and nothing of the user's own."""
        kept = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        for name in kept:
            del os.environ[name]
        os.environ.update(regions.profiles_environment(self.layout.aws_config))
        try:
            yield
        finally:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                del os.environ[name]
            os.environ.update(kept)

    def session(self, role: str) -> Any:
        """A boto3 session of one region; make its clients within `aws()`."""
        return boto3.Session(profile_name=role)

    def receiver_spec(self) -> ProcessSpec:
        port = self.layout.receiver_port
        arguments = ("--port", str(port), "--out", str(self.layout.alerts_file))
        return _python("receiver", "localcloud.receiver", *arguments, ports=(port,))

    def replicator_spec(self) -> ProcessSpec:
        arguments = ("--status", str(self.layout.root / "replicator.json"), "--status-every-s", "2")
        environment = regions.profiles_environment(self.layout.aws_config)
        return _python("replicator", "localcloud.replicator", *arguments, env=environment)

    def consumer_spec(self, region: Region) -> ProcessSpec:
        """The consumer as on a server, told by its environment where everything is. Reads are tuned for latency: the
        emulator has no limit of five reads per second and shard."""
        names = self.layout.names(region)
        settings = {
            "TENANT": TENANT,
            "REGION": region.name,
            "STREAM_ARN": names.stream_arn,
            "APPLICATION": names.consumer_application,
            "RESULTS_TABLE": names.table,
            "ALERTS_TOPIC_ARN": names.alerts_topic_arn,
            "LAKE_BUCKET": names.lake_bucket,
            "ACTIVE_REGION_PARAMETER": names.active_region_parameter,
            "WORK_FOLDER": str(self.layout.root / f"consumer-{region.role}"),
            "WORKER_ID": f"{region.role}-1",
            "GATEWAYS": ",".join(self.layout.gateways),
            "BUNDLE_PATH": self.layout.bundle_path,
            "FLUSH_INTERVAL_S": "2",
            "IDLE_BETWEEN_READS_MS": "200",
            "FAILOVER_MS": "3000",
            "LEASE_ASSIGNMENT_INTERVAL_MS": "1000",
            "WORKER_METRICS_REPORT_MS": "1000",
            "METRICS_LEVEL": "NONE",
            "PROTECT_TABLES": "false",
        }
        environment = {f"PLANTWATCH_{name}": value for name, value in settings.items()} | regions.environment(region)
        folder = self.layout.root / f"consumer-{region.role}"
        return _python(f"consumer-{region.role}", "kcl_consumer", env=environment, folders=(folder,))

    def gateway_spec(self) -> ProcessSpec:
        config = self.layout.root / "gateway" / "nucleus.json"
        _write_secret(config, json.dumps(self._nucleus_settings(), indent=1))
        # The nucleus runs the component in a folder of its own; a gateway has the component installed there.
        return _python("gateway", "localcloud.nucleus", "--config", str(config), env={"PYTHONPATH": str(REPOSITORY)})

    def simulator_token(self) -> str:
        """The token with which a local driver speaks to the gateway's bus; made once, kept beside the gateway."""
        file = self.layout.root / "gateway" / "simulator.token"
        if not file.exists():
            _write_secret(file, os.urandom(16).hex())
        return file.read_text()

    def _nucleus_settings(self) -> Mapping[str, Any]:
        gateway, dr = self.layout.gateways[0], self.layout.mqtt_endpoint(self.layout.gateways[0], self.layout.dr)
        return {
            "thing": gateway,
            "region": self.layout.primary.name,
            "root": str(self.layout.root / "gateway"),
            "socket": str(self.layout.socket_path),
            "uplink": asdict(self.layout.mqtt_endpoint(gateway, self.layout.primary)),
            "components": [
                {
                    "recipe": str(RECIPE),
                    "configuration": {
                        "tenant": TENANT,
                        "bundle_path": self.layout.bundle_path,
                        "linger_s": 0.2,
                        # Few machines: their state is small, and what was learnt since is all that a kill takes.
                        "checkpoint_interval_s": 2.0,
                        "backoff_s_max": 2.0,
                        "dr_enabled": True,
                        "dr_host": dr.host,
                        "dr_port": dr.port,
                        "dr_certificate_path": dr.certificate_path,
                        "dr_key_path": dr.key_path,
                        "dr_ca_path": dr.ca_path,
                    },
                }
            ],
            "visitors": [
                {"name": SIMULATOR, "token": self.simulator_token(), "access_control": ACCESS_CONTROL},
            ],
        }

    def _targets(self) -> tuple[Target, Target]:
        primary, dr = self.layout.regions
        return (
            Target(topology.RegionRole.PRIMARY, primary.name, primary.role),
            Target(topology.RegionRole.DR, dr.name, dr.role),
        )

    def _start(self, spec: ProcessSpec) -> None:
        if not self.processes.alive(spec.name):
            self.processes.start(spec)

    def _wait_ready(self, region: Region, timeout_s: float = 60.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not regions.is_ready(region):
            self.processes.check_alive()
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"region {region.role} does not answer\n{self.processes.log_tail(f'region-{region.role}')}"
                )
            time.sleep(0.05)


def _python(name: str, module: str, *arguments: str, **options: Any) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-m", module, *arguments), cwd=REPOSITORY, **options)


def _write_secret(file: Path, text: str) -> None:
    """Nobody else may read it, from its first byte on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)


def _expect_set_up() -> None:
    if not regions.emulator_python().exists():
        raise NotSetUp(f"{regions.emulator_python()} is missing: run `make setup`")
    if shutil.which("java") is None:
        raise NotSetUp("no `java` on the path: the consumers need a Java runtime (Debian: default-jre-headless)")
