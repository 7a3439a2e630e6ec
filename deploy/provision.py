"""Make a tenant's two regions as they shall be, and say what changed.

    python -m deploy.provision --tenant acme --account 000000000000 --gateway gw-1 --thing pump-7 --check

Each region is reached by an AWS profile, `primary` and `dr` unless named otherwise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from deploy import inventory
from deploy.ensure.clients import Clients, Target
from deploy.ensure.core import EnsureFailed, Outcome, Resource, ensure
from deploy.ensure.credentials import MissingPrivateKey, ThingCredentials
from deploy.ensure.dynamodb import ImmutableField
from deploy.ensure.iot import BelongsToAnother
from deploy.report import Report
from deploy.topology import DeviceKind, InvalidTopology, RegionRole, Tenant, check_thing_name, names

Item = TypeVar("Item")
Result = TypeVar("Result")


class WrongTarget(Exception):
    """The profiles do not lead to the tenant's account and regions: nothing was touched."""


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
    their key is lost. Raises WrongTarget, EnsureFailed, MissingPrivateKey, BelongsToAnother, ImmutableField.
    """
    started = time.monotonic()
    regions = _regions(tenant, targets)
    primary, dr = regions[RegionRole.PRIMARY], regions[RegionRole.DR]

    def one_region(role: RegionRole) -> list[Outcome]:
        return _ensure_all(inventory.resources(tenant, role, http_subscriber), regions[role], check)

    outcomes = [outcome for region in _in_parallel(one_region, RegionRole) for outcome in region]
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
    regions = _regions(tenant, targets)

    def registered(role: RegionRole) -> Outcome:
        return ensure(inventory.thing(tenant, role, name, kind), regions[role], check=check)

    outcomes = _in_parallel(registered, RegionRole)
    policy = names(tenant, tenant.primary_region).device_policy
    credentials = ThingCredentials(name, policy, credentials_dir, regions[RegionRole.DR], reissue=reissue)
    outcomes.append(ensure(credentials, regions[RegionRole.PRIMARY], check=check))
    return Report(tuple(outcomes), check, time.monotonic() - started)


def _regions(tenant: Tenant, targets: Sequence[Target]) -> dict[RegionRole, Clients]:
    """A profile that leads elsewhere is found before anything is written there."""
    given = sorted((target.role, target.region) for target in targets)
    wanted = sorted((role, tenant.region(role)) for role in RegionRole)
    if given != wanted:
        raise WrongTarget(f"tenant {tenant.name} lives in {wanted}, the targets are {given}")
    regions = {target.role: Clients(target) for target in targets}
    for role, account in zip(regions, _in_parallel(Clients.account, regions.values()), strict=True):
        if account != tenant.account:
            profile = regions[role].target.profile
            raise WrongTarget(f"profile {profile} leads to account {account}, not {tenant.account}")
    return regions


def _global_table(tenant: Tenant, primary: Clients, dr: Clients, check: bool) -> tuple[Outcome, Outcome]:
    """The replica comes with the replication, so its own changes are told against what was there before both."""
    announced = ensure(inventory.replica(tenant), dr, check=True)
    replication = ensure(inventory.replication(tenant), primary, check=check)
    ensure(inventory.replica(tenant), dr, check=check)
    return replication, announced


def _ensure_all(resources: Iterable[Resource], clients: Clients, check: bool) -> list[Outcome]:
    return [ensure(resource, clients, check=check) for resource in resources]


def _in_parallel(call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Both regions at once, each in its own thread; results in the order of `items`, the first error is raised."""
    with ThreadPoolExecutor(max_workers=len(RegionRole)) as threads:
        return list(threads.map(call, items))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.provision", description="Provision a tenant's two regions.")
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--account", required=True, help="the AWS account id; profiles that lead elsewhere are refused")
    parser.add_argument("--primary-region", default="us-east-1")
    parser.add_argument("--dr-region", default="us-west-2")
    parser.add_argument("--primary-profile", default="primary")
    parser.add_argument("--dr-profile", default="dr")
    parser.add_argument("--env", default="dev")
    parser.add_argument("--gateway", action="append", default=[], metavar="NAME")
    parser.add_argument("--thing", action="append", default=[], metavar="NAME")
    parser.add_argument("--credentials-dir", type=Path, default=Path("build/credentials"))
    parser.add_argument("--http-subscriber", metavar="URL", help="gets every alert by HTTP")
    parser.add_argument("--reissue", action="append", default=[], metavar="NAME", help="replace a lost key")
    parser.add_argument("--check", action="store_true", help="say what would change, write nothing")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        tenant = Tenant(
            name=options.tenant,
            account=options.account,
            primary_region=options.primary_region,
            dr_region=options.dr_region,
            gateways=tuple(options.gateway),
            things=tuple(options.thing),
            env=options.env,
        )
        report = provision(
            tenant,
            (
                Target(RegionRole.PRIMARY, tenant.primary_region, options.primary_profile),
                Target(RegionRole.DR, tenant.dr_region, options.dr_profile),
            ),
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
