"""Devices' keys and certificates: what they open, who keeps them, what becomes of a lost one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from deploy.ensure.core import Action
from deploy.ensure.credentials import MissingPrivateKey
from deploy.ensure.iot import BelongsToAnother
from deploy.provision import onboard_thing
from deploy.topology import RegionRole
from tests.component.provision_support import ACME, HERE, NOT_AUTHORISED, Cloud, cpu_seconds, running_cloud
from tests.region_support import session

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two regions with tenant acme in them."""
    with running_cloud(tmp_path_factory.mktemp("provision")) as running:
        running.provision()
        yield running


def test_keys_are_private_and_never_in_a_report(acme: Cloud) -> None:
    report = acme.provision()
    key = acme.folder / "fan-1" / "private.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.parent.stat().st_mode & 0o777 == 0o700
    assert acme.folder.stat().st_mode & 0o777 == 0o700
    secret = key.read_text().splitlines()[1]
    assert "PRIVATE KEY" in key.read_text()
    assert secret not in report.as_json()
    assert "PRIVATE KEY" not in repr(report)


def test_a_thing_is_onboarded_with_little_work_in_both_regions_and_only_once(acme: Cloud) -> None:
    with cpu_seconds() as cpu:
        first = onboard_thing(ACME, "pump-7", acme.targets, credentials_dir=acme.folder)
    assert cpu.used < 1, cpu
    assert [each.action for each in first.outcomes] == [Action.CREATE] * 3
    key = (acme.folder / "pump-7" / "private.key").read_bytes()
    assert not onboard_thing(ACME, "pump-7", acme.targets, credentials_dir=acme.folder).changed
    assert (acme.folder / "pump-7" / "private.key").read_bytes() == key
    for role in RegionRole:
        with session(acme.running(role), acme.device("pump-7", role)) as device:
            assert device.publish("tenants/acme/devices/pump-7/telemetry", b'{"ts": 1, "x": 1}') == 0


def test_a_device_publishes_for_itself_only_and_never_for_another_tenant(acme: Cloud) -> None:
    beta = replace(ACME, name="beta", gateways=(), things=("press-1",))
    acme.provision(beta)
    refused = (
        "tenants/beta/devices/press-1/telemetry",
        "tenants/beta/devices/fan-1/telemetry",
        "tenants/acme/devices/gw-1/telemetry",
    )
    for role in RegionRole:
        for topic in refused:
            with session(acme.running(role), acme.device("fan-1", role)) as fan:
                assert fan.publish(topic, b"{}") == NOT_AUTHORISED
        with session(acme.running(role), acme.device("press-1", role)) as press:
            assert press.publish("tenants/acme/devices/fan-1/telemetry", b"{}") == NOT_AUTHORISED
        with (
            pytest.raises(Exception, match=r"(?i)connection.*(refused|not.*authorized|closed)|CONNACK"),
            session(acme.running(role), acme.device("fan-1", role), client_id="gw-1"),
        ):
            pass


def test_what_a_device_publishes_is_in_the_stream_under_its_name(acme: Cloud) -> None:
    for role in RegionRole:
        running = acme.running(role)
        with session(running, acme.device("fan-1", role)) as fan:
            assert fan.publish("tenants/acme/devices/fan-1/telemetry", b'{"ts": 2, "x": 1}') == 0
        assert "fan-1" in {record["PartitionKey"] for record in running.records(HERE.stream)}


def test_another_tenants_thing_is_never_taken_over(acme: Cloud) -> None:
    gamma = replace(ACME, name="gamma", gateways=(), things=())
    with pytest.raises(BelongsToAnother, match="tenant acme"):
        onboard_thing(gamma, "fan-1", acme.targets, credentials_dir=acme.folder)


def test_a_lost_key_is_told_and_replaced_only_when_asked(acme: Cloud) -> None:
    onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder)
    old = acme.certificate("pump-8")
    (acme.folder / "pump-8" / "private.key").unlink()
    for check in (True, False):
        with pytest.raises(MissingPrivateKey, match="pump-8"):
            onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder, check=check)
    announced = onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder, reissue=True, check=True)
    replaced = onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder, reissue=True)
    assert replaced.outcomes == announced.outcomes
    assert acme.certificate("pump-8") != old
    for clients in acme.clients.values():
        certificate = clients("iot").describe_certificate(certificateId=old)["certificateDescription"]
        assert certificate["status"] == "INACTIVE"
        assert clients("iot").list_attached_policies(target=certificate["certificateArn"])["policies"] == []
    assert not onboard_thing(ACME, "pump-8", acme.targets, credentials_dir=acme.folder, reissue=True).changed


def test_a_run_that_stopped_before_attaching_goes_on_with_the_same_certificate(acme: Cloud) -> None:
    onboard_thing(ACME, "pump-10", acme.targets, credentials_dir=acme.folder)
    issued, iot = acme.certificate("pump-10"), acme.clients[RegionRole.PRIMARY]("iot")
    arn = iot.describe_certificate(certificateId=issued)["certificateDescription"]["certificateArn"]
    iot.detach_thing_principal(thingName="pump-10", principal=arn)
    onboard_thing(ACME, "pump-10", acme.targets, credentials_dir=acme.folder)
    assert acme.certificate("pump-10") == issued


def test_files_of_an_account_that_is_gone_are_set_aside(acme: Cloud) -> None:
    folder = acme.folder / "pump-11"
    folder.mkdir()
    (folder / "private.key").write_text("of another account")
    onboard_thing(ACME, "pump-11", acme.targets, credentials_dir=acme.folder)
    assert (folder / "private.key.replaced-unknown").read_text() == "of another account"
