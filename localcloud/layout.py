"""Where a local cloud lives and on which ports; and cloud.json, which tells a later command."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from deploy import topology
from edge_component.mqtt import MqttEndpoint
from localcloud import region as regions
from localcloud.processes import ProcessTable, free_ports
from localcloud.region import DR, PRIMARY, Region
from plantwatch.bundle.container import load

TENANT: Final = "acme"
GATEWAY: Final = "gateway-1"
RECEIVER_PORT: Final = 14580
CLOUD_FILE: Final = "cloud.json"


@dataclass(frozen=True)
class Layout:
    """Where one local cloud lives and on which ports. Two of them run side by side if nothing of it is shared."""

    root: Path
    primary: Region = PRIMARY
    dr: Region = DR
    receiver_port: int = RECEIVER_PORT
    things: tuple[str, ...] = ()
    gateways: tuple[str, ...] = (GATEWAY,)
    bundle_path: str = ""
    """The model bundle that the gateway and both consumers watch by; empty: the default configuration."""

    @classmethod
    def on_free_ports(cls, root: Path, bundle_path: str = "") -> Layout:
        """Beside whatever runs on this machine."""
        ports = free_ports(5)
        primary, dr = Region("primary", PRIMARY.name, *ports[:2]), Region("dr", DR.name, *ports[2:4])
        return cls(root, primary, dr, ports[4], bundle_path=bundle_path)

    @property
    def regions(self) -> tuple[Region, Region]:
        return self.primary, self.dr

    def region(self, role: str) -> Region:
        return {region.role: region for region in self.regions}[role]

    @property
    def tenant(self) -> topology.Tenant:
        return topology.Tenant(
            TENANT, regions.ACCOUNT, self.primary.name, self.dr.name, gateways=self.gateways, things=self.things
        )

    def names(self, region: Region) -> topology.Names:
        return topology.names(self.tenant, region.name)

    @property
    def aws_config(self) -> Path:
        return self.root / "aws" / "config"

    @property
    def alerts_file(self) -> Path:
        return self.root / "alerts.jsonl"

    @property
    def credentials_dir(self) -> Path:
        return self.root / "things"

    def ca_path(self, region: Region) -> Path:
        return self.root / "ca" / f"{region.role}.pem"

    @property
    def socket_path(self) -> Path:
        """Unix sockets allow 107 characters, and a checkout may lie deep."""
        digest = hashlib.sha256(str(self.root.resolve()).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"plantwatch-{digest}.socket"

    def mqtt_endpoint(self, thing: str, region: Region) -> MqttEndpoint:
        folder = self.credentials_dir / thing
        return MqttEndpoint(
            regions.HOST,
            region.mqtt_port,
            thing,
            str(folder / topology.CERTIFICATE_FILE),
            str(folder / topology.PRIVATE_KEY_FILE),
            str(self.ca_path(region)),
        )


def save(layout: Layout) -> None:
    """Write cloud.json. OSError or InvalidBundle where the bundle cannot be read."""
    fields_of = {name: value for name, value in asdict(layout).items() if name != "root"}
    # A file may be learnt anew while the cloud still watches by what was in it.
    digest = load(Path(layout.bundle_path)).digest if layout.bundle_path else ""
    (layout.root / CLOUD_FILE).write_text(json.dumps({**fields_of, "bundle_digest": digest}, indent=1))


def saved(root: Path) -> Layout | None:
    """The layout of the cloud that was started last in `root`; None where there was none."""
    try:
        values = json.loads((root / CLOUD_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _layout_from(values, root)


def running(root: Path) -> Layout | None:
    """The layout of the cloud that runs in `root` now, or None."""
    return saved(root) if any(ProcessTable(root).status().values()) else None


def watches_by(layout: Layout, bundle: Path) -> bool:
    """Whether the cloud was started with this very bundle: what is in the file decides, not its name."""
    values = json.loads((layout.root / CLOUD_FILE).read_text())
    return bool(values.get("bundle_digest", "") == load(bundle).digest)


def _layout_from(values: Mapping[str, Any], root: Path) -> Layout:
    kept: dict[str, Any] = {item.name: values[item.name] for item in fields(Layout) if item.name in values}
    for role in ("primary", "dr"):
        kept[role] = Region(**kept[role])
    for name in ("things", "gateways"):
        kept[name] = tuple(kept[name])
    return Layout(root=root, **kept)
