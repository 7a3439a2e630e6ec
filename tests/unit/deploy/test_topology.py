"""Names are right or refused; nothing else of the project makes one up."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.topology import (
    DeviceKind,
    InvalidTopology,
    RegionRole,
    Tenant,
    check_thing_name,
    lake_bucket,
    model_bucket,
    names,
    tags,
)

GOOD: dict[str, Any] = {
    "name": "acme",
    "account": "000000000000",
    "primary_region": "us-east-1",
    "dr_region": "us-west-2",
    "gateways": ("gw-1",),
    "things": ("pump-7", "pump:8"),
}


def tenant(**changes: Any) -> Tenant:
    return Tenant(**{**GOOD, **changes})


def test_the_names_that_operators_know() -> None:
    here = names(tenant(), "us-east-1")
    assert here.stream == "anomaly-stream-acme"
    assert here.table == "anomaly-results-acme"
    assert here.lake_bucket == "iot-data-lake-acme-000000000000-us-east-1"
    assert here.model_bucket == "iot-models-acme-000000000000-us-east-1"
    assert here.alerts_topic == here.alerts_queue == "alerts-acme"
    assert here.telemetry_rule == "telemetry_to_kinesis_acme"
    assert here.rule_errors_queue == "iot-rule-errors-acme"
    assert here.consumer_application == "anomaly-consumer-acme"
    assert here.active_region_parameter == "/plantwatch/acme/active-region"
    assert here.uplink_filter == "tenants/acme/devices/+/#"
    assert here.stream_arn == "arn:aws:kinesis:us-east-1:000000000000:stream/anomaly-stream-acme"


def test_only_what_is_global_in_aws_carries_the_region_in_its_name() -> None:
    here, there = asdict(names(tenant(), "us-east-1")), asdict(names(tenant(), "us-west-2"))
    differ = {field for field in here if here[field] != there[field] and not field.endswith("_arn")}
    assert differ == {"region", "lake_bucket", "model_bucket", "rule_role", "consumer_role"}


@pytest.mark.parametrize("name", ["a", "Acme", "ac-me", "1acme", "acme!", "", "a" * 32, "acme\n"])
def test_a_tenant_that_fits_no_rule_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidTopology, match="tenant"):
        tenant(name=name)


def test_a_tenant_whose_bucket_would_be_too_long_is_refused() -> None:
    longest = "a" * (63 - len(lake_bucket("", GOOD["account"], "us-east-1")))
    assert len(lake_bucket(tenant(name=longest).name, GOOD["account"], "us-east-1")) == 63
    with pytest.raises(InvalidTopology, match="too long"):
        tenant(name=longest + "a")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"account": "123"}, "account"),
        ({"dr_region": "us-east-1"}, "same region"),
        ({"primary_region": "virginia"}, "region 'virginia'"),
        ({"env": "Prod!"}, "env"),
        ({"things": ("pump 7",)}, "thing 'pump 7'"),
        ({"things": ("pump.7",)}, "thing 'pump.7'"),
        ({"things": ("gw-1",)}, "'gw-1' is named twice"),
        ({"gateways": ("+",)}, "thing '+'"),
    ],
)
def test_what_aws_would_refuse_is_refused_here(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidTopology) as refused:
        tenant(**changes)
    assert any(problem in each for each in refused.value.problems)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidTopology) as refused:
        Tenant("Acme", "1", "us-east-1", "us-east-1", things=("a b",))
    assert len(refused.value.problems) == 4


@pytest.mark.parametrize("name", ["../x", "pump/7", "${iot:ClientId}", "*", "?", "#", ""])
def test_a_thing_name_never_widens_a_policy_or_leaves_its_folder(name: str) -> None:
    with pytest.raises(InvalidTopology):
        check_thing_name(name)


@given(st.from_regex(r"[a-z][a-z0-9_]{1,20}", fullmatch=True), st.from_regex(r"[a-z][a-z0-9_]{1,20}", fullmatch=True))
def test_two_tenants_never_share_a_bucket(one: str, other: str) -> None:
    for bucket in (lake_bucket, model_bucket):
        same = bucket(one, GOOD["account"], "us-east-1") == bucket(other, GOOD["account"], "us-east-1")
        assert same == (one == other)


def test_devices_are_gateways_first_each_with_its_kind() -> None:
    assert tenant().devices == (
        ("gw-1", DeviceKind.GATEWAY),
        ("pump-7", DeviceKind.THING),
        ("pump:8", DeviceKind.THING),
    )


def test_tags_say_whose_what_and_where() -> None:
    assert tags(tenant(), RegionRole.DR) == {
        "app": "plantwatch",
        "env": "dev",
        "managed-by": "plantwatch-deploy",
        "region-role": "dr",
        "tenant": "acme",
    }
