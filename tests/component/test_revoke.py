"""A device that is stolen: both regions let it in no longer, at once, and nothing lets it in again by accident."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from awscrt.exceptions import AwsCrtError
from botocore.config import Config

from deploy.ensure import clients as ensure_clients
from deploy.ensure.core import Action
from deploy.ensure.revocation import UnknownThing
from deploy.provision import onboard_thing
from deploy.report import Report
from deploy.revoke import RevokedInPartOnly, main, revoke
from deploy.topology import RegionRole
from plantwatch.telemetry import telemetry_topic
from tests.component.provision_support import ACME, Cloud, running_cloud
from tests.region_support import ANSWER_WITHIN_S, session

pytestmark = pytest.mark.component

BOTH = tuple(RegionRole)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two regions with tenant acme in them."""
    with running_cloud(tmp_path_factory.mktemp("revoke")) as running:
        running.provision()
        yield running


def onboard(cloud: Cloud, name: str, *, reissue: bool = False, check: bool = False) -> Report:
    return onboard_thing(ACME, name, cloud.targets, credentials_dir=cloud.folder, reissue=reissue, check=check)


def is_let_in(cloud: Cloud, name: str, role: RegionRole) -> bool:
    try:
        with session(cloud.running(role), cloud.device(name, role)) as opened:
            return opened.publish(telemetry_topic("acme", name), b"{}") == 0
    except AwsCrtError as error:
        # The one class for whatever happens to a connection: its name tells a refusal from a broker that is not there.
        assert error.name.startswith("AWS_ERROR_MQTT"), error
        return False


def statuses(cloud: Cloud, certificate_id: str) -> list[str]:
    return [
        clients("iot").describe_certificate(certificateId=certificate_id)["certificateDescription"]["status"]
        for clients in cloud.clients.values()
    ]


def test_a_revoked_device_is_disconnected_and_refused_in_both_regions(acme: Cloud) -> None:
    onboard(acme, "pump-1")
    certificate = acme.certificate("pump-1")
    with (
        session(acme.primary, acme.device("pump-1", RegionRole.PRIMARY)) as primary,
        session(acme.dr, acme.device("pump-1", RegionRole.DR)) as dr,
    ):
        report = revoke(ACME, "pump-1", acme.targets)
        assert primary.dropped.wait(ANSWER_WITHIN_S)
        assert dr.dropped.wait(ANSWER_WITHIN_S)
    assert [(each.region, each.action, each.changes[0].before) for each in report.outcomes] == [
        ("us-east-1", Action.UPDATE, [certificate]),
        ("us-west-2", Action.UPDATE, [certificate]),
    ]
    assert [is_let_in(acme, "pump-1", role) for role in BOTH] == [False, False]
    assert not revoke(ACME, "pump-1", acme.targets).changed
    assert not onboard(acme, "pump-1").changed, "a provisioning run revives nothing"


def test_a_gateway_is_revoked_like_a_thing_and_its_neighbours_stay(acme: Cloud) -> None:
    revoke(ACME, "gw-1", acme.targets)
    assert [is_let_in(acme, "gw-1", role) for role in BOTH] == [False, False]
    assert [is_let_in(acme, "fan-1", role) for role in BOTH] == [True, True]


@pytest.mark.parametrize("away", BOTH)
def test_a_region_that_is_away_keeps_the_other_one_from_nothing_and_follows_later(
    acme: Cloud, monkeypatch: pytest.MonkeyPatch, away: RegionRole
) -> None:
    # The real retries take half a minute to tell a region that is away from one that is slow.
    monkeypatch.setattr(ensure_clients, "_CONFIG", Config(retries={"max_attempts": 1}, connect_timeout=1))
    name = f"stolen-while-{away}-is-away"
    onboard(acme, name)
    (there,) = (role for role in BOTH if role is not away)
    acme.running(away).stop()
    try:
        with pytest.raises(RevokedInPartOnly, match=rf"{name} is not revoked in {ACME.region(away)}: ") as caught:
            revoke(ACME, name, acme.targets)
        assert [each.region for each in caught.value.report.outcomes] == [ACME.region(there)]
        assert not is_let_in(acme, name, there)
    finally:
        acme.running(away).start()
    assert is_let_in(acme, name, away)
    onboard(acme, name)
    assert not is_let_in(acme, name, away), "provisioning carries it on"


@pytest.mark.parametrize("role", BOTH)
def test_what_somebody_revoked_in_one_region_only_is_announced_and_becomes_revoked_in_both(
    acme: Cloud, role: RegionRole
) -> None:
    name = f"revoked-in-{role}"
    onboard(acme, name)
    certificate = acme.certificate(name)
    acme.clients[role]("iot").update_certificate(certificateId=certificate, newStatus="INACTIVE")
    announced = onboard(acme, name, check=True)
    assert [change.field for change in announced.outcomes[-1].changes] == ["revoked_in_one_region_only"]
    assert onboard(acme, name).outcomes == announced.outcomes
    assert statuses(acme, certificate) == ["INACTIVE", "INACTIVE"]
    assert not onboard(acme, name).changed


def test_a_revoked_device_comes_back_with_a_new_key_only(acme: Cloud) -> None:
    onboard(acme, "pump-2")
    old = acme.certificate("pump-2")
    revoke(ACME, "pump-2", acme.targets)
    announced = onboard(acme, "pump-2", reissue=True, check=True)
    assert onboard(acme, "pump-2", reissue=True).outcomes == announced.outcomes
    assert acme.certificate("pump-2") != old
    assert statuses(acme, old) == ["INACTIVE", "INACTIVE"]
    assert [is_let_in(acme, "pump-2", role) for role in BOTH] == [True, True]
    assert not onboard(acme, "pump-2", reissue=True).changed


def test_an_unknown_device_and_another_tenants_are_told_and_nothing_is_revoked(acme: Cloud) -> None:
    onboard(acme, "pump-3")
    with pytest.raises(UnknownThing, match="no thing pump-33 in us-east-1 or us-west-2"):
        revoke(ACME, "pump-33", acme.targets)
    with pytest.raises(RevokedInPartOnly, match="belongs to tenant acme"):
        revoke(replace(ACME, name="beta"), "pump-3", acme.targets)
    assert [is_let_in(acme, "pump-3", role) for role in BOTH] == [True, True]


def test_the_command_says_what_it_would_do_does_it_and_fails_where_it_cannot(
    acme: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    onboard(acme, "pump-4")
    certificate = acme.certificate("pump-4")
    command = ["--tenant", "acme", "--account", ACME.account, "--thing"]
    assert main([*command, "pump-4", "--check"]) == 0
    assert f'active_certificates: ["{certificate}"] -> []' in capsys.readouterr().out
    assert statuses(acme, certificate) == ["ACTIVE", "ACTIVE"]
    assert main([*command, "pump-4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["update"] == 2
    assert statuses(acme, certificate) == ["INACTIVE", "INACTIVE"]
    assert main([*command, "pump-44"]) == 1
    assert "not revoked: no thing pump-44 in us-east-1 or us-west-2" in capsys.readouterr().err
    assert main([*command, "pump/4"]) == 1
    assert "not revoked: thing 'pump/4' does not match" in capsys.readouterr().err
