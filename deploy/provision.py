"""Make a tenant's two regions as they shall be, and say what changed.

    python -m deploy.provision --tenant acme --account 000000000000 --gateway gw-1 --thing pump-7 --check

Each region is reached by an AWS profile, `primary` and `dr` unless named otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from deploy import inventory
from deploy.ensure.clients import Clients, Target
from deploy.ensure.core import EnsureFailed, Outcome, Resource, ensure
from deploy.ensure.credentials import MissingPrivateKey, ThingCredentials
from deploy.ensure.dynamodb import ImmutableField
from deploy.ensure.iot import BelongsToAnother
from deploy.regions import WrongTarget, add_options, in_parallel, open_regions, targets_from, tenant_from
from deploy.report import Report
from deploy.topology import DeviceKind, InvalidTopology, RegionRole, Tenant, check_thing_name, names

# What a person can mend: told in one line. Anything else is ours, and crashes.
_REFUSALS = (
    BelongsToAnother,
    BotoCoreError,
    ClientError,
    EnsureFailed,
    ImmutableField,
    InvalidTopology,
    MissingPrivateKey,
    WrongTarget,
)


def provision(
    tenant: Tenant,
    targets: Sequence[Target],
    *,
    credentials_dir: Path,
    http_subscriber: str | None = None,
    reissue: frozenset[str] = frozenset(),
    check: bool = False,
) -> Report:
    """Everything of the tenant in both regions; devices' keys go to `credentials_dir`/DEVICE.

    `http_subscriber` is a URL that gets the alerts. `reissue` names devices that may get a new certificate because
    their key is lost or their certificate revoked. Raises WrongTarget, EnsureFailed, MissingPrivateKey,
    BelongsToAnother, ImmutableField.
    """
    started = time.monotonic()
    regions = open_regions(tenant, targets)
    primary, dr = regions[RegionRole.PRIMARY], regions[RegionRole.DR]

    def one_region(role: RegionRole) -> list[Outcome]:
        return _ensure_all(inventory.resources(tenant, role, http_subscriber), regions[role], check)

    outcomes = [outcome for region in in_parallel(one_region, RegionRole) for outcome in region]
    outcomes += _global_table(tenant, primary, dr, check)
    policy = names(tenant, primary.region).device_policy
    for name, _ in tenant.devices:
        credentials = ThingCredentials(name, policy, credentials_dir, dr, reissue=name in reissue)
        outcomes.append(ensure(credentials, primary, check=check))
    return Report(tuple(outcomes), check, time.monotonic() - started)


def onboard_thing(
    tenant: Tenant,
    name: str,
    targets: Sequence[Target],
    *,
    credentials_dir: Path,
    kind: DeviceKind = DeviceKind.THING,
    reissue: bool = False,
    check: bool = False,
) -> Report:
    """One more device of a tenant whose regions are provisioned; a device that is there stays as it is.

    Raises what `provision` raises, and InvalidTopology for a name that no device may have.
    """
    started = time.monotonic()
    check_thing_name(name)
    regions = open_regions(tenant, targets)

    def registered(role: RegionRole) -> Outcome:
        return ensure(inventory.thing(tenant, role, name, kind), regions[role], check=check)

    outcomes = in_parallel(registered, RegionRole)
    policy = names(tenant, tenant.primary_region).device_policy
    credentials = ThingCredentials(name, policy, credentials_dir, regions[RegionRole.DR], reissue=reissue)
    outcomes.append(ensure(credentials, regions[RegionRole.PRIMARY], check=check))
    return Report(tuple(outcomes), check, time.monotonic() - started)


def _global_table(tenant: Tenant, primary: Clients, dr: Clients, check: bool) -> tuple[Outcome, Outcome]:
    """The replica comes with the replication, so its own changes are told against what was there before both."""
    announced = ensure(inventory.replica(tenant), dr, check=True)
    replication = ensure(inventory.replication(tenant), primary, check=check)
    ensure(inventory.replica(tenant), dr, check=check)
    return replication, announced


def _ensure_all(resources: Iterable[Resource], clients: Clients, check: bool) -> list[Outcome]:
    return [ensure(resource, clients, check=check) for resource in resources]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.provision", description="Provision a tenant's two regions.")
    add_options(parser)
    parser.add_argument("--gateway", action="append", default=[], metavar="NAME")
    parser.add_argument("--thing", action="append", default=[], metavar="NAME")
    parser.add_argument("--credentials-dir", type=Path, default=Path("build/credentials"))
    parser.add_argument("--http-subscriber", metavar="URL", help="gets every alert by HTTP")
    parser.add_argument(
        "--reissue", action="append", default=[], metavar="NAME", help="replace a lost key or a revoked certificate"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        report = provision(
            tenant_from(options, options.gateway, options.thing),
            targets_from(options),
            credentials_dir=options.credentials_dir,
            http_subscriber=options.http_subscriber,
            reissue=frozenset(options.reissue),
            check=options.check,
        )
    except _REFUSALS as error:
        sys.stderr.write(f"not provisioned: {error}\n")
        return 1
    sys.stdout.write(f"{report.as_json() if options.json else report.as_text()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
