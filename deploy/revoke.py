"""Let a device in no longer: its certificates become inactive in both regions, in one run.

    python -m deploy.revoke --tenant acme --account 000000000000 --thing pump-7

IoT Core ends the device's open sessions and refuses new ones. A region that cannot be reached does not keep the other
one from revoking: the command says so and fails, and is to be run again; the next provisioning carries it there, too.
To let the device in again give it a new key: `python -m deploy.provision ... --thing pump-7 --reissue pump-7`. Nothing
revives a certificate that was revoked.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from deploy.ensure.clients import Clients, Target
from deploy.ensure.core import EnsureFailed, Outcome, ensure
from deploy.ensure.iot import BelongsToAnother
from deploy.ensure.revocation import Revocation, UnknownThing
from deploy.regions import (
    WrongTarget,
    add_options,
    check_account,
    check_regions,
    in_parallel,
    targets_from,
    tenant_from,
)
from deploy.report import Report
from deploy.topology import InvalidTopology, Tenant, check_thing_name

_NOT_THERE = (BelongsToAnother, BotoCoreError, ClientError, EnsureFailed, UnknownThing, WrongTarget)


class RevokedInPartOnly(Exception):
    """`failed` says for each region that still lets the device in why; `report` has what was done in the other one."""

    def __init__(self, thing: str, report: Report, failed: Mapping[str, Exception]) -> None:
        super().__init__("; ".join(f"{thing} is not revoked in {region}: {why}" for region, why in failed.items()))
        self.report = report
        self.failed = failed


def revoke(tenant: Tenant, name: str, targets: Sequence[Target], *, check: bool = False) -> Report:
    """No certificate of the thing `name` is active in either region any more.

    Raises WrongTarget and InvalidTopology before anything is done, RevokedInPartOnly after everything possible was;
    UnknownThing where no region has it.
    """
    started = time.monotonic()
    check_thing_name(name)
    check_regions(tenant, targets)

    def one_region(target: Target) -> Outcome | Exception:
        try:
            clients = Clients(target)
            check_account(tenant, clients)
            return ensure(Revocation(name, tenant.name), clients, check=check)
        except _NOT_THERE as error:
            return error

    results = in_parallel(one_region, targets)
    done = tuple(result for result in results if isinstance(result, Outcome))
    report = Report(done, check, time.monotonic() - started)
    failed = {
        target.region: result
        for target, result in zip(targets, results, strict=True)
        if not isinstance(result, Outcome)
    }
    if len(failed) == len(targets) and all(isinstance(why, UnknownThing) for why in failed.values()):
        raise UnknownThing(f"no thing {name} in {' or '.join(failed)}")
    if failed:
        raise RevokedInPartOnly(name, report, failed)
    return report


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.revoke", description="Let a device in no longer.")
    add_options(parser)
    parser.add_argument("--thing", required=True, metavar="NAME", help="a thing or a gateway")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    try:
        report = revoke(tenant_from(options), options.thing, targets_from(options), check=options.check)
    except (InvalidTopology, UnknownThing, WrongTarget) as error:
        sys.stderr.write(f"not revoked: {error}\n")
        return 1
    except RevokedInPartOnly as error:
        _print(error.report, options.json)
        sys.stderr.write(f"{error}; run it again\n")
        return 1
    _print(report, options.json)
    return 0


def _print(report: Report, as_json: bool) -> None:
    sys.stdout.write(f"{report.as_json() if as_json else report.as_text()}\n")


if __name__ == "__main__":
    sys.exit(main())
