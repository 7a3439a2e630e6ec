"""Kill what can die while readings flow: nothing is lost, nothing is stored twice, nobody is alerted twice.

`make faults` does the same with an outage of a minute; here it is shorter.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from localcloud.cloud import LocalCloud
from localcloud.processes import wait_until
from tests.e2e.flow import Outcome, kill, pids, while_readings_flow

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

DR_OUTAGE_S = float(os.environ.get("PLANTWATCH_DR_OUTAGE_S", "8"))


def consumer_child(cloud: LocalCloud) -> None:
    kill(pids(cloud, "consumer-primary", "kcl_consumer.processor")[:1])


def daemon(cloud: LocalCloud) -> None:
    kill(pids(cloud, "consumer-primary", "MultiLangDaemon"))


def edge_component(cloud: LocalCloud) -> None:
    kill(pids(cloud, "gateway", "edge_component"))


def dr_region(cloud: LocalCloud) -> None:
    cloud.stop_region("dr")
    time.sleep(DR_OUTAGE_S)
    cloud.start_region("dr")


@pytest.mark.parametrize("victim", [consumer_child, daemon, edge_component, dr_region])
def test_a_death_loses_nothing_and_alerts_nobody_twice(cloud: LocalCloud, victim: Callable[[LocalCloud], None]) -> None:
    wait_until(lambda: len(pids(cloud, "consumer-primary", "kcl_consumer.processor")) >= 2, 120, "consumers ready")
    live_s = max(12.0, DR_OUTAGE_S + 4.0 if victim is dr_region else 0.0)
    outcome = while_readings_flow(cloud, victim.__name__.replace("_", "-"), lambda: victim(cloud), live_s=live_s)
    expect_everything_once(outcome)


def expect_everything_once(outcome: Outcome) -> None:
    assert outcome.missing("primary") == {}
    assert outcome.missing("dr") == {}
    assert [stored.duplicate for stored in outcome.stored.values()] == [0, 0]
    assert outcome.repeated == []
    assert outcome.openings == {(device, "process_anomaly"): 1 for device in outcome.sent}
    assert {alert.body["region"] for alert in outcome.alerts} == {"us-east-1"}
