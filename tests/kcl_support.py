"""A tenant's resources on one emulated region, and the consumer beside them, for component tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy.topology import Names, Tenant, names
from localcloud.processes import ProcessTable
from localcloud.region import REPOSITORY, environment
from plantwatch import envelope
from plantwatch.aws.dead_letters import read_dead_letters
from plantwatch.aws.lake import LakeCount, read_rows
from plantwatch.incident import Cause, Kind, Phase, Severity, Transition
from plantwatch.machine import Machines
from plantwatch.record import Record, encode_record
from plantwatch.scoring import ScoredReading
from plantwatch.telemetry import EpochMs, Reading, telemetry_topic
from tests.region_support import RunningRegion

GATEWAY: Final = "gateway-1"
DEVICE: Final = "pump-7"
BUNDLE: Final = Machines().bundle
START: Final[EpochMs] = 1_795_000_000_000


@dataclass
class ConsumerCloud:
    """Everything that a consumer of the tenant reads and writes in one region."""

    running: RunningRegion
    names: Names
    _alerts: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def create(cls, running: RunningRegion, *, shards: int = 1) -> ConsumerCloud:
        home = names(Tenant("acme", "000000000000", running.region.name, "us-west-2"), running.region.name)
        running.client("kinesis").create_stream(StreamName=home.stream, ShardCount=shards)
        running.client("s3").create_bucket(Bucket=home.lake_bucket)
        running.client("dynamodb").create_table(
            TableName=home.table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
            BillingMode="PAY_PER_REQUEST",
        )
        cloud = cls(running, home)
        cloud._create_alerts()
        cloud.activate(running.region.name)
        return cloud

    def activate(self, region: str) -> None:
        value = json.dumps({"region": region, "epoch": 1})
        self.running.client("ssm").put_parameter(
            Name=self.names.active_region_parameter, Type="String", Value=value, Overwrite=True
        )

    def environment(self, work_folder: Path, **settings: object) -> dict[str, str]:
        """What the consumer's processes get; `settings` are fields of ConsumerSettings."""
        chosen = {
            "tenant": self.names.tenant,
            "region": self.names.region,
            "stream_arn": self.names.stream_arn,
            "application": self.names.consumer_application,
            "results_table": self.names.table,
            "alerts_topic_arn": self.names.alerts_topic_arn,
            "lake_bucket": self.names.lake_bucket,
            "active_region_parameter": self.names.active_region_parameter,
            "work_folder": work_folder,
            "worker_id": "slot-0",
            "gateways": "gateway-*",
            "flush_interval_s": 1,
            "failover_ms": 3000,
            "lease_assignment_interval_ms": 1000,
            "worker_metrics_report_ms": 1000,
            "metrics_level": "NONE",
            "protect_tables": "false",
            **settings,
        }
        ours = {f"PLANTWATCH_{name.upper()}": str(value) for name, value in chosen.items()}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        return {"PATH": path, "PYTHONPATH": str(REPOSITORY), **environment(self.running.region), **ours}

    def put(self, payloads: Sequence[bytes], *, sender: str = GATEWAY) -> None:
        """Records into the stream, as the IoT rule writes them."""
        records = [{"Data": data, "PartitionKey": sender} for data in payloads]
        answer = self.running.client("kinesis").put_records(StreamName=self.names.stream, Records=records)
        assert answer["FailedRecordCount"] == 0

    def lake(self) -> LakeCount:
        count = LakeCount()
        s3, home = self.running.client("s3"), self.names
        for _ in read_rows(s3, home.lake_bucket, tenant=home.tenant, region=home.region, count=count):
            pass
        return count

    def dead_letters(self) -> list[str]:
        s3, home = self.running.client("s3"), self.names
        letters = read_dead_letters(s3, home.lake_bucket, tenant=home.tenant, region=home.region)
        return [letter["reason"] for letter in letters]

    def alerts(self) -> Counter[str]:
        """How often each alert was received, by phase and device, since the beginning."""
        sqs = self.running.client("sqs")
        queue = sqs.get_queue_url(QueueName=self.names.alerts_queue)["QueueUrl"]
        while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            self._alerts += [json.loads(message["Body"]) for message in messages]
            for message in messages:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return Counter(alert["alert_id"] for alert in self._alerts)

    def checkpoints(self) -> dict[str, str]:
        """Shard -> where the daemon says that it stands."""
        items = self.running.client("dynamodb").scan(TableName=self.names.consumer_application)["Items"]
        return {item["leaseKey"]["S"]: item["checkpoint"]["S"] for item in items}

    def _create_alerts(self) -> None:
        sns, sqs = self.running.client("sns"), self.running.client("sqs")
        sns.create_topic(Name=self.names.alerts_topic)
        queue = sqs.create_queue(QueueName=self.names.alerts_queue)["QueueUrl"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.names.alerts_queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": self.names.alerts_topic_arn}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
        sns.subscribe(
            TopicArn=self.names.alerts_topic_arn,
            Protocol="sqs",
            Endpoint=self.names.alerts_queue_arn,
            Attributes={"RawMessageDelivery": "true"},
        )


@contextmanager
def consumer_cloud(folder: Path) -> Iterator[ConsumerCloud]:
    """A region of its own on free ports (it starts in a second), with the tenant's resources."""
    table = ProcessTable(folder)
    try:
        running = RunningRegion(table, folder / "state")
        running.start()
        yield ConsumerCloud.create(running)
    finally:
        table.stop_all()


def reading(
    sequence: int, *, phase: Phase | None = None, device: str = DEVICE, gateway: str = GATEWAY
) -> ScoredReading:
    """The gateway's reading number `sequence`, one second after its predecessor; with `phase` it turns an incident."""
    at = START + sequence * 1000
    signals = {"vibration": 2.0 + sequence % 5 / 10, "temperature": 61.0}
    causes = (Cause("vibration", 1.0, 4.82, 1.1, 2.3),)
    turns = () if phase is None else (Transition(Kind.PROCESS_ANOMALY, phase, START, Severity.HIGH, 0.9998, causes),)
    return ScoredReading(
        Reading("acme", device, at, at + 5, signals, gateway=gateway, epoch=1, sequence=sequence),
        1.0 if turns else 0.1,
        transitions=turns,
        bundle=BUNDLE,
    )


def batches(readings: Sequence[ScoredReading], *, size: int = 10) -> Iterator[bytes]:
    """The gateway's messages as records of the stream."""
    for first in range(0, len(readings), size):
        part = readings[first : first + size]
        payload = envelope.encode(part, epoch=1, bundle=BUNDLE)
        received_at = part[-1].reading.observed_at + 20
        yield encode_record(Record(telemetry_topic("acme", part[0].reading.gateway), received_at, payload))


def consumer_argv(module: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module)


@contextmanager
def running_consumer(cloud: ConsumerCloud, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The supervisor with its daemon and children; its log is `consumer.log`, shown where the test fails."""
    with (folder / "consumer.log").open("wb") as log:
        process = subprocess.Popen(
            consumer_argv("kcl_consumer"),
            env=cloud.environment(folder / "work folder"),
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
        )
        try:
            yield process
        finally:
            for pid in descendants(process.pid):
                kill(pid)
            process.kill()
            process.wait()
    print((folder / "consumer.log").read_text())


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.exists():
        return []
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def descendants(pid: int) -> list[int]:
    return [found for child in children(pid) for found in (*descendants(child), child)]


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def with_endpoint(environment: Mapping[str, str], endpoint: str) -> dict[str, str]:
    return {**environment, "AWS_ENDPOINT_URL": endpoint}
