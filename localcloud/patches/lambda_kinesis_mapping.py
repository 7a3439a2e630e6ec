"""A Kinesis event source mapping keeps its settings and honours none of them.

Stock: `_poll_kinesis` knows the batch size. A partial failure counts as success (the failed records are never retried
and never reach the destination); a function that raises is retried without end; a shard that came from a split begins
at LATEST, so what was put into it first is skipped.
AWS: ReportBatchItemFailures, BisectBatchOnFunctionError, MaximumRetryAttempts, MaximumRecordAgeInSeconds, OnFailure and
MaximumBatchingWindowInSeconds as in the Lambda developer guide, "Using Lambda to process records from Kinesis"; a
parent shard is finished before its children are begun.
Here: the same, one batch at a time for each shard. The position is a sequence number, part of the saved state. A
parallelization factor, tumbling windows and enhanced fan-out are not honoured.
"""

from __future__ import annotations

import bisect
import json
import logging
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import kinesis, lambda_svc, sns, sqs

from localcloud.patches.kinesis_resharding import parents

NAMES = (
    "ministack.services.kinesis:_resolve_stream_by_arn",
    "ministack.services.lambda_svc:_apply_filter_criteria",
    "ministack.services.lambda_svc:_execute_function",
    "ministack.services.lambda_svc:_get_func_record_for_qualifier",
    "ministack.services.lambda_svc:_iter_all_esms",
    "ministack.services.lambda_svc:_kinesis_positions",
    "ministack.services.lambda_svc:_poll_kinesis",
    "ministack.services.lambda_svc:esm_wake",
    "ministack.services.sns:publish_internal",
    "ministack.services.sqs:_act_send_message",
    "ministack.services.sqs:_queue_by_arn",
)

Json = dict[str, Any]

# Shards that are processed at the same time, over all mappings of a region.
_pool = ThreadPoolExecutor(16, thread_name_prefix="kinesis-mapping")
# Mapping and shard of each batch that is being processed.
_busy: set[tuple[str, str]] = set()
_log = logging.getLogger("localcloud.mapping")
RETRY_AFTER_S_MAX = 5.0


class Stopped(Exception):
    """The mapping was disabled or deleted while it retried: its position stays."""


class Attempt(NamedTuple):
    """Records that are to be processed together, after `tries` failures."""

    records: list[Json]
    tries: int = 0


class Mapping(NamedTuple):
    """An event source mapping with what it connects, as it is now."""

    settings: Json
    function: Json
    stream: Json
    positions: dict[str, str]

    def enabled(self) -> bool:
        return bool(self.settings.get("Enabled", True)) and self.settings.get("State") != "Deleting"


def apply() -> None:
    lambda_svc._poll_kinesis = poll


def poll() -> bool:
    """Begin what can be begun now. False: the emulator's loop then waits until it is woken (records, an end)."""
    for account, region, settings in lambda_svc._iter_all_esms():
        if ":kinesis:" in settings.get("EventSourceArn", ""):
            with request_scope(account, region):
                _begin_all(settings)
    return False


def _begin_all(settings: Json) -> None:
    mapping = _mapping(settings)
    if mapping is not None:
        for shard_id in list(mapping.stream["shards"]):
            _begin(mapping, shard_id)


def _mapping(settings: Json) -> Mapping | None:
    stream = kinesis._resolve_stream_by_arn(settings["EventSourceArn"])
    function, _ = lambda_svc._get_func_record_for_qualifier(settings["FunctionName"], settings.get("Qualifier"))
    if not stream or not function or stream["StreamStatus"] != "ACTIVE":
        return None
    known = lambda_svc._kinesis_positions.get(settings["UUID"])
    if known is None:
        known = {shard_id: _start(settings, shard) for shard_id, shard in stream["shards"].items()}
        lambda_svc._kinesis_positions[settings["UUID"]] = known
    mapping = Mapping(settings, function, stream, known)
    return mapping if mapping.enabled() else None


def _start(settings: Json, shard: Json) -> str:
    """The sequence number after which a new mapping begins."""
    records = shard["records"]
    if settings.get("StartingPosition") == "AT_TIMESTAMP":
        since = float(settings.get("StartingPositionTimestamp") or 0)
        records = [each for each in records if each["ApproximateArrivalTimestamp"] < since]
    elif settings.get("StartingPosition") != "LATEST":
        return ""
    return str(records[-1]["SequenceNumber"]) if records else ""


def _begin(mapping: Mapping, shard_id: str) -> None:
    slot = (mapping.settings["UUID"], shard_id)
    if slot in _busy or not _parents_finished(mapping, shard_id):
        return
    batch = _next_batch(mapping, shard_id)
    if batch:
        _busy.add(slot)
        _pool.submit(_run, mapping, shard_id, batch, get_account_id(), get_region())


def _parents_finished(mapping: Mapping, shard_id: str) -> bool:
    for parent in parents(mapping.stream["shards"][shard_id]):
        if (mapping.settings["UUID"], parent) in _busy or _unread(mapping, parent):
            return False
    return True


def _unread(mapping: Mapping, shard_id: str) -> list[Json]:
    shard = mapping.stream["shards"].get(shard_id)
    if shard is None:
        return []
    # A shard that is new to the mapping came from a reshard: all of it is unread.
    after = mapping.positions.setdefault(shard_id, "")
    first = bisect.bisect_right(shard["records"], after, key=lambda record: record["SequenceNumber"])
    size = int(mapping.settings.get("BatchSize") or 100)
    unread: list[Json] = shard["records"][first : first + size]
    return unread


def _next_batch(mapping: Mapping, shard_id: str) -> list[Json]:
    """Nothing while a batch that is not full may still wait for more."""
    records = _unread(mapping, shard_id)
    window_s = mapping.settings.get("MaximumBatchingWindowInSeconds") or 0
    full = len(records) >= int(mapping.settings.get("BatchSize") or 100)
    waited_s = time.time() - records[0]["ApproximateArrivalTimestamp"] if records else 0.0
    return records if full or waited_s >= window_s else []


def _run(mapping: Mapping, shard_id: str, batch: list[Json], account: str, region: str) -> None:
    try:
        with request_scope(account, region):
            process(mapping, shard_id, batch)
        mapping.positions[shard_id] = batch[-1]["SequenceNumber"]
        mapping.settings["LastProcessingResult"] = f"OK - {len(batch)} records"
    except Stopped:
        mapping.settings["LastProcessingResult"] = "Stopped"
    except Exception:  # noqa: BLE001 - the edge of a thread; the batch is begun again
        _log.exception("mapping %s", mapping.settings["UUID"])
    finally:
        _busy.discard((mapping.settings["UUID"], shard_id))
        lambda_svc.esm_wake.set()


def process(mapping: Mapping, shard_id: str, batch: list[Json]) -> None:
    """Returns when each record was processed or given up."""
    work = deque([Attempt(batch)])
    while work:
        attempt = work.popleft()
        if _too_old(mapping, attempt.records[0]):
            give_up(mapping, shard_id, attempt, "RecordAgeExceeded")
            continue
        failed_from = invoke(mapping, shard_id, attempt.records)
        if failed_from is not None:
            work.extendleft(reversed(_after_failure(mapping, shard_id, attempt, failed_from)))


def _after_failure(mapping: Mapping, shard_id: str, attempt: Attempt, failed_from: int) -> list[Attempt]:
    """What is left to try, in order."""
    records = attempt.records[failed_from:]
    if failed_from > 0:
        return [Attempt(records)]
    if mapping.settings.get("BisectBatchOnFunctionError") and len(records) > 1:
        # Splitting does not count as a retry.
        half = len(records) // 2
        return [Attempt(records[:half], attempt.tries), Attempt(records[half:], attempt.tries)]
    retries_max = mapping.settings.get("MaximumRetryAttempts", -1)
    tried = Attempt(records, attempt.tries + 1)
    if 0 <= retries_max < tried.tries:
        give_up(mapping, shard_id, tried, "RetryAttemptsExhausted")
        return []
    time.sleep(min(0.1 * 2**attempt.tries, RETRY_AFTER_S_MAX))
    if not mapping.enabled():
        raise Stopped
    return [tried]


def _too_old(mapping: Mapping, record: Json) -> bool:
    age_s_max = mapping.settings.get("MaximumRecordAgeInSeconds") or -1
    return bool(0 < age_s_max < time.time() - record["ApproximateArrivalTimestamp"])


def invoke(mapping: Mapping, shard_id: str, records: list[Json]) -> int | None:
    """The index of the first record that failed, or None."""
    event = {"Records": [_event(mapping, shard_id, record) for record in records]}
    event["Records"] = lambda_svc._apply_filter_criteria(event["Records"], mapping.settings)
    if not event["Records"]:
        return None
    result = lambda_svc._execute_function(mapping.function, event)
    if result.get("error"):
        return 0
    if "ReportBatchItemFailures" not in (mapping.settings.get("FunctionResponseTypes") or ()):
        return None
    sequence_numbers = [record["SequenceNumber"] for record in records]
    # An identifier that is not of this batch fails all of it, as on AWS.
    failed = [sequence_numbers.index(each) if each in sequence_numbers else 0 for each in _failures(result)]
    return min(failed, default=None)


def _failures(result: Json) -> Iterator[str]:
    body = result.get("body")
    document = json.loads(body) if isinstance(body, str | bytes) and body else body
    items = document.get("batchItemFailures") if isinstance(document, dict) else None
    return (str(each.get("itemIdentifier")) for each in items or ())


def _event(mapping: Mapping, shard_id: str, record: Json) -> Json:
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": record["Data"],
            "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"],
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": f"arn:aws:iam::{get_account_id()}:role/lambda-role",
        "awsRegion": get_region(),
        "eventSourceARN": mapping.settings["EventSourceArn"],
    }


def give_up(mapping: Mapping, shard_id: str, attempt: Attempt, condition: str) -> None:
    """Tell the OnFailure destination which records were not processed (not the records themselves)."""
    destination = ((mapping.settings.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination", "")
    text = json.dumps(_invocation_record(mapping, shard_id, attempt, condition))
    if ":sqs:" in destination:
        queue = sqs._queue_by_arn(destination)
        if queue is not None:
            sqs._act_send_message({"MessageBody": text}, queue["url"])
    elif ":sns:" in destination:
        sns.publish_internal(destination, text)


def _invocation_record(mapping: Mapping, shard_id: str, attempt: Attempt, condition: str) -> Json:
    function = mapping.function.get("config") or mapping.function
    first, last = attempt.records[0], attempt.records[-1]
    return {
        "version": "1.0",
        "timestamp": _iso(time.time()),
        "requestContext": {
            "condition": condition,
            "approximateInvokeCount": attempt.tries,
            "functionArn": function.get("FunctionArn", ""),
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "KinesisBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": first["SequenceNumber"],
            "endSequenceNumber": last["SequenceNumber"],
            "approximateArrivalOfFirstRecord": _iso(first["ApproximateArrivalTimestamp"]),
            "approximateArrivalOfLastRecord": _iso(last["ApproximateArrivalTimestamp"]),
            "batchSize": len(attempt.records),
            "streamArn": mapping.settings["EventSourceArn"],
        },
    }


def _iso(at_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
