"""Metrics that a function prints are lines in a log and nothing else.

Stock: the output of a function goes to CloudWatch Logs; its embedded metrics are not looked at.
AWS: a JSON line with `_aws.CloudWatchMetrics` becomes metrics (CloudWatch user guide, "Specification: Embedded metric
format"); a line that does not follow the specification is a line in the log only.
Here: the same, and alarms on them are evaluated at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ministack.services import cloudwatch, lambda_svc

NAMES = (
    "ministack.services.lambda_svc:_emit_lambda_logs",
    "ministack.services.cloudwatch:record_metric",
    "ministack.services.cloudwatch:_evaluate_all_alarms",
)


class Metric(NamedTuple):
    """One value, as record_metric takes it."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: dict[str, str]


def apply() -> None:
    emit_logs = lambda_svc._emit_lambda_logs

    def emit_logs_and_metrics(function: Any, request_id: str, text: str, *rest: Any, **options: Any) -> None:
        emit_logs(function, request_id, text, *rest, **options)
        found = [metric for line in (text or "").splitlines() for metric in metrics(line)]
        for metric in found:
            cloudwatch.record_metric(*metric)
        if found:
            cloudwatch._evaluate_all_alarms()

    lambda_svc._emit_lambda_logs = emit_logs_and_metrics


def metrics(line: str) -> list[Metric]:
    """The metrics of one line of output; none where it is no embedded metric document."""
    _, brace, rest = line.partition("{")
    if '"_aws"' not in rest:
        return []
    try:
        document = json.loads(brace + rest)
        return [metric for directive in document["_aws"]["CloudWatchMetrics"] for metric in _of(directive, document)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _of(directive: dict[str, Any], document: dict[str, Any]) -> Iterator[Metric]:
    for names in directive.get("Dimensions") or [[]]:
        dimensions = {name: str(document[name]) for name in names}
        for metric in directive["Metrics"]:
            values = document[metric["Name"]]
            for value in values if isinstance(values, list) else [values]:
                unit = metric.get("Unit", "None")
                yield Metric(directive["Namespace"], metric["Name"], float(value), unit, dimensions)
