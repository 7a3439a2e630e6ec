"""What the stand-in is told: a JSON file, read once, and again (components' configuration only) on SIGHUP."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from edge_component.mqtt import MqttEndpoint
from localcloud.nucleus.profile import PROFILES
from plantwatch import settings

# `struct sockaddr_un` holds 108 bytes with the closing zero.
SOCKET_PATH_CHARS_MAX: Final = 107
COMPONENT: Final = "com.plantwatch.EdgeScorer"
RECIPE: Final = Path(__file__).parents[2] / "recipes" / f"{COMPONENT}-1.0.0.json"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One component to run: its recipe, what a deployment changes in its configuration, and how it is started here
    (the recipe's own script installs from artefacts; a checkout has them already)."""

    recipe: Path
    configuration: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = (sys.executable, "-m", "edge_component")


@dataclass(frozen=True, slots=True)
class Visitor:
    """A local client that the stand-in does not launch (a simulated sensor driver), with its token."""

    name: str
    token: str
    access_control: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NucleusSettings:
    """`root` holds `work/{component}` and `pids.json`."""

    thing: str
    region: str
    root: Path
    socket: Path
    uplink: MqttEndpoint
    components: tuple[Deployment, ...] = ()
    visitors: tuple[Visitor, ...] = ()
    profile: str = "lite"

    def __post_init__(self) -> None:
        problems = []
        if self.profile not in PROFILES:
            problems.append(f"profile: {self.profile}, not one of {', '.join(PROFILES)}")
        if len(str(self.socket)) > SOCKET_PATH_CHARS_MAX:
            problems.append(f"socket: longer than {SOCKET_PATH_CHARS_MAX} characters")
        if problems:
            raise settings.InvalidSettings(problems)


def read(path: Path) -> NucleusSettings:
    return settings.load(NucleusSettings, json.loads(path.read_text()))


def write(path: Path, nucleus: NucleusSettings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)  # it holds the visitors' tokens
    path.write_text(json.dumps(asdict(nucleus), indent=2, default=str))


def short_socket(root: Path) -> Path:
    """A socket's path that belongs to `root` alone and is short enough wherever `root` is."""
    digest = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"pw-{digest}" / "ipc.sock"


def edge_configuration(tenant: str, dr: MqttEndpoint | None, **changes: Any) -> dict[str, Any]:
    """A deployment's configuration of the edge component: with `dr` it has a second leg. `changes` are any settings."""
    configuration: dict[str, Any] = {"tenant": tenant}
    if dr:
        configuration |= {
            "dr_enabled": True,
            "dr_host": dr.host,
            "dr_port": dr.port,
            "dr_client_id": dr.client_id,
            "dr_certificate_path": dr.certificate_path,
            "dr_key_path": dr.key_path,
            "dr_ca_path": dr.ca_path,
        }
    return {**configuration, **changes}
