"""What the emulator gets wrong for us, one file a defect.

Each module says in its docstring what stock MiniStack does and what AWS documents, lists the private names that it
reaches into (`NAMES`, as "module:name"), and changes them in `apply()`. `tests/contract/test_emulator_patches*.py` put
the same questions to a patched and to a stock emulator, so that a defect mended upstream is noticed.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from localcloud.patches import (
    dynamodb_global_table,
    kinesis_expiry,
    kinesis_resharding,
    kinesis_shard_filter,
    kinesis_shard_limits,
    lambda_kinesis_mapping,
    lambda_metric_format,
    mqtt_client_certificate,
    mqtt_loopback,
    mqtt_revocation,
    rule_actions,
    rule_functions,
    rule_payload,
    s3_replication,
    sns_http_delivery,
    state_clean_stop,
    state_snapshot,
)

# Applied in this order; a later one may wrap what an earlier one put there.
ALL: tuple[ModuleType, ...] = (
    mqtt_loopback,
    mqtt_client_certificate,
    mqtt_revocation,
    rule_payload,
    rule_functions,
    rule_actions,
    kinesis_expiry,
    kinesis_resharding,
    kinesis_shard_filter,
    kinesis_shard_limits,
    lambda_kinesis_mapping,
    lambda_metric_format,
    dynamodb_global_table,
    s3_replication,
    sns_http_delivery,
    state_clean_stop,
    state_snapshot,
)


def missing_names() -> list[str]:
    """Every private name that a patch needs and this emulator does not have."""
    return [
        f"- {patch.__name__} needs {name}" for patch in ALL for name in patch.NAMES if not _exists(*name.split(":"))
    ]


def apply_all() -> None:
    for patch in ALL:
        patch.apply()


def _exists(module: str, name: str) -> bool:
    return hasattr(importlib.import_module(module), name)
