"""A tenant's two regions as a run of `deploy` reaches them, and the options by which a person says which they are."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from deploy.ensure.clients import Clients, Target
from deploy.topology import RegionRole, Tenant

Item = TypeVar("Item")
Result = TypeVar("Result")


class WrongTarget(Exception):
    """The profiles do not lead to the tenant's account and regions: nothing was touched."""


def open_regions(tenant: Tenant, targets: Sequence[Target]) -> dict[RegionRole, Clients]:
    """A profile that leads elsewhere is found before anything is written in either region."""
    check_regions(tenant, targets)
    regions = {target.role: Clients(target) for target in targets}
    in_parallel(lambda clients: check_account(tenant, clients), regions.values())
    return regions


def check_regions(tenant: Tenant, targets: Sequence[Target]) -> None:
    given = sorted((target.role, target.region) for target in targets)
    wanted = sorted((role, tenant.region(role)) for role in RegionRole)
    if given != wanted:
        raise WrongTarget(f"tenant {tenant.name} lives in {wanted}, the targets are {given}")


def check_account(tenant: Tenant, clients: Clients) -> None:
    account = clients.account()
    if account != tenant.account:
        raise WrongTarget(f"profile {clients.target.profile} leads to account {account}, not {tenant.account}")


def in_parallel(call: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Both regions at once, each in its own thread; results in the order of `items`, the first error is raised."""
    with ThreadPoolExecutor(max_workers=len(RegionRole)) as threads:
        return list(threads.map(call, items))


def add_options(parser: argparse.ArgumentParser) -> None:
    """What every command of `deploy` asks for."""
    parser.add_argument("--tenant", required=True)
    parser.add_argument("--account", required=True, help="the AWS account id; profiles that lead elsewhere are refused")
    parser.add_argument("--primary-region", default="us-east-1")
    parser.add_argument("--dr-region", default="us-west-2")
    parser.add_argument("--primary-profile", default="primary")
    parser.add_argument("--dr-profile", default="dr")
    parser.add_argument("--env", default="dev")
    parser.add_argument("--check", action="store_true", help="say what would change, write nothing")
    parser.add_argument("--json", action="store_true")


def tenant_from(options: argparse.Namespace, gateways: Sequence[str] = (), things: Sequence[str] = ()) -> Tenant:
    """Raises InvalidTopology with every problem at once."""
    return Tenant(
        name=options.tenant,
        account=options.account,
        primary_region=options.primary_region,
        dr_region=options.dr_region,
        gateways=tuple(gateways),
        things=tuple(things),
        env=options.env,
    )


def targets_from(options: argparse.Namespace) -> tuple[Target, Target]:
    return (
        Target(RegionRole.PRIMARY, options.primary_region, options.primary_profile),
        Target(RegionRole.DR, options.dr_region, options.dr_profile),
    )
