"""A tenant's two regions, made, checked and deleted as a whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from deploy import inventory
from deploy.ensure.core import Action, ensure_absent
from deploy.ensure.credentials import ThingCredentials
from deploy.provision import main
from deploy.regions import WrongTarget
from deploy.topology import RegionRole, names
from tests.component.provision_support import ACME, HERE, Cloud, cpu_seconds, running_cloud

pytestmark = pytest.mark.component


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running_cloud(tmp_path_factory.mktemp("provision")) as running:
        yield running


@pytest.fixture(scope="module")
def acme(cloud: Cloud) -> Cloud:
    """The cloud with tenant acme in it."""
    cloud.provision()
    return cloud


# First in the file: it needs the empty cloud.
def test_check_on_an_empty_account_announces_what_the_run_makes_and_the_second_run_makes_nothing(cloud: Cloud) -> None:
    announced = cloud.provision(check=True)
    assert not cloud.folder.exists()
    assert cloud.provision(check=True).outcomes == announced.outcomes, "a check writes nothing"
    with cpu_seconds() as first:
        made = cloud.provision()
    assert made.outcomes == announced.outcomes
    assert made.counts == {"none": 0, "create": len(made.outcomes), "update": 0, "delete": 0}
    with cpu_seconds() as second:
        assert not cloud.provision().changed
    # Measured: 2.2 s and 1.5 s. A run that works three times as much is noticed, whatever else the machine does.
    assert (first.used < 6, second.used < 3) == (True, True), (first, second)
    for clients in cloud.clients.values():
        value = clients("ssm").get_parameter(Name=HERE.active_region_parameter)["Parameter"]["Value"]
        assert json.loads(value) == {"region": "us-east-1", "epoch": 1}


def test_an_http_receiver_and_the_queue_get_the_alerts(acme: Cloud) -> None:
    report = acme.provision(http_subscriber="http://127.0.0.1:9/alerts")
    assert [each.name for each in report.outcomes if each.changed] == ["alerts-acme:http"] * 2
    assert not acme.provision(http_subscriber="http://127.0.0.1:9/alerts").changed
    clients = acme.clients[RegionRole.PRIMARY]
    clients("sns").publish(TopicArn=HERE.alerts_topic_arn, Message='{"incident": "i-1"}')
    url = clients("sqs").get_queue_url(QueueName=HERE.alerts_queue)["QueueUrl"]
    (message,) = clients("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == '{"incident": "i-1"}'


def test_everything_can_be_deleted_by_name_and_nothing_is_left(cloud: Cloud) -> None:
    gone = replace(ACME, name="gone", gateways=(), things=("drill-1",))
    cloud.provision(gone)
    primary, dr = cloud.clients[RegionRole.PRIMARY], cloud.clients[RegionRole.DR]
    bucket = names(gone, "us-east-1").lake_bucket
    for body in (b"1", b"2"):
        primary("s3").put_object(Bucket=bucket, Key="readings/x", Body=body)
    primary("s3").delete_object(Bucket=bucket, Key="readings/x")
    credentials = ThingCredentials("drill-1", names(gone, "us-east-1").device_policy, cloud.folder, dr)
    removed = [ensure_absent(credentials, primary), ensure_absent(inventory.replication(gone), primary)]
    for role, clients in cloud.clients.items():
        resources = inventory.resources(gone, role)
        announced = [ensure_absent(each, clients, check=True) for each in resources]
        assert {each.action for each in announced} == {Action.DELETE}
        removed += [ensure_absent(each, clients) for each in reversed(resources)]
        assert {each.action for each in removed} == {Action.DELETE}
        assert [each.kind for each in resources if ensure_absent(each, clients).changed] == []
    assert not (cloud.folder / "drill-1" / "private.key").exists()


def test_profiles_that_lead_elsewhere_are_refused_before_anything_is_written(acme: Cloud) -> None:
    elsewhere = replace(ACME, account="111111111111")
    with pytest.raises(WrongTarget, match="leads to account 000000000000, not 111111111111"):
        acme.provision(elsewhere)
    swapped = replace(ACME, primary_region="us-west-2", dr_region="us-east-1")
    with pytest.raises(WrongTarget, match="lives in"):
        acme.provision(swapped)


def test_the_command_prints_a_plan_for_people_and_for_programs(acme: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    acme.clients[RegionRole.PRIMARY]("logs").put_retention_policy(
        logGroupName=HERE.consumer_log_group, retentionInDays=7
    )
    command = ["--tenant", "acme", "--account", ACME.account, "--gateway", "gw-1", "--thing", "fan-1"]
    command += ["--credentials-dir", str(acme.folder)]
    assert main([*command, "--check"]) == 0
    plan = capsys.readouterr().out
    assert "~ update  us-east-1  log_group" in plan
    assert "    retention_days: 7 -> 30" in plan
    assert "nothing was written" in plan
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["update"] == 1
    assert main([*command[:2], "--account", "1"]) == 1
    assert "account '1' does not match" in capsys.readouterr().err
