"""Entry point: `lambdas.warm_scoring.handler.handler`, behind a Kinesis event source mapping.

The mapping must have ReportBatchItemFailures, or the answer would count as success whatever it says.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import Metrics

from lambdas.warm_scoring.bootstrap import build
from lambdas.warm_scoring.reports import MetricReports
from lambdas.warm_scoring.scoring import WarmScoring, failures, records_of
from lambdas.warm_scoring.settings import from_environment


@cache
def _metrics() -> Metrics:
    return Metrics(namespace="plantwatch", service="warm-scoring")


@cache
def _scoring() -> WarmScoring:
    Logger(service="warm-scoring", name="")  # the root logger: every module's lines become JSON
    return build(from_environment(os.environ), MetricReports(_metrics()))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    shard, records = records_of(event)
    try:
        return failures(_scoring().take(shard, records, context.get_remaining_time_in_millis))
    finally:
        _metrics().flush_metrics()
