"""The counts of one shard, and the line that tells them."""

from __future__ import annotations

import json
import logging

import pytest

from kcl_consumer.meter import PREFIX, REPORT_EVERY_MS, LogMeter, Reports
from plantwatch.machine import WatchCounts
from plantwatch.pipeline import Effects
from plantwatch.telemetry import Rejection, RejectionReason
from tests.fakes import MemoryMeter
from tests.unit.kcl_consumer.consumer_world import SHARD, START, scored


def test_counts_are_totals_and_the_greatest_age_is_of_the_time_since_the_last_report() -> None:
    meter, watch = MemoryMeter(), WatchCounts()
    reports = Reports(meter, SHARD, since=START, watch=watch)
    refused = [Rejection(RejectionReason.NO_SIGNALS, "", "", START, b"{}")] * 2
    for age_ms in (50, 900, 10):
        reports.counts.took(Effects(scored=[scored(1), scored(2)], adopted=1, rejections=refused), age_ms=age_ms)
    reports.tell_if_due(START + REPORT_EVERY_MS - 1)
    assert meter.reports == []
    reports.tell_if_due(START + REPORT_EVERY_MS)
    watch.late_readings = 4
    reports.tell(START + REPORT_EVERY_MS + 5)
    first, second = meter.reports
    assert (first["records"], first["scored"], first["adopted"]) == (3, 3, 3)
    assert first["rejected"] == {"no_signals": 6}
    assert (first["oldest_ms"], second["oldest_ms"]) == (900, 0)
    assert (first["late_readings"], second["late_readings"]) == (0, 4)
    assert second["records"] == 3


def test_a_line_is_a_fixed_word_and_one_object(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Reports(LogMeter(), SHARD, since=START, watch=WatchCounts()).tell(START)
    prefix, _, text = caplog.messages[0].partition(" ")
    assert prefix == PREFIX
    assert json.loads(text)["shard"] == SHARD
