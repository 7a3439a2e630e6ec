"""Settings, properties, patience, the leader's lock and the first leases."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from kcl_consumer import first_start, leader_lock
from kcl_consumer.leader_lock import is_silent, look, release_own
from kcl_consumer.properties import jvm_flags, properties, render_properties
from kcl_consumer.settings import from_environment
from kcl_consumer.supervisor import MissingJava, daemon_command, daemon_environment
from plantwatch.aws.clients import Refused
from plantwatch.aws.leader_lock import Lock
from plantwatch.aws.shards import Shard
from plantwatch.ports import DeliveryFailed
from plantwatch.settings import InvalidSettings
from plantwatch.shard.patience import Patience

ENVIRONMENT = {
    "PLANTWATCH_TENANT": "acme",
    "PLANTWATCH_REGION": "us-east-1",
    "PLANTWATCH_STREAM_ARN": "arn:aws:kinesis:us-east-1:000000000000:stream/anomaly-stream-acme",
    "PLANTWATCH_APPLICATION": "anomaly-consumer-acme",
    "PLANTWATCH_RESULTS_TABLE": "anomaly-results-acme",
    "PLANTWATCH_ALERTS_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:alerts-acme",
    "PLANTWATCH_LAKE_BUCKET": "lake",
    "PLANTWATCH_ACTIVE_REGION_PARAMETER": "/plantwatch/acme/active-region",
    "PLANTWATCH_WORK_FOLDER": "/tmp/plantwatch consumer",
    "PLANTWATCH_WORKER_ID": "slot-0",
}
SETTINGS = from_environment(ENVIRONMENT)


def test_all_wrong_settings_are_reported_at_once() -> None:
    wrong = {
        **ENVIRONMENT,
        "PLANTWATCH_FAILOVER_MS": "0",
        "PLANTWATCH_ANOMALY_SCORE_MIN": "2",
        "PLANTWATCH_PATIENCE_S": "500",
        "PLANTWATCH_METRICS_LEVEL": "LOUD",
        "PLANTWATCH_IDLE_BETWEEN_READS_MS": "100",
        "PLANTWATCH_LEADER_SILENT_S": "3",
    }
    with pytest.raises(InvalidSettings) as error:
        from_environment(wrong)
    assert len(error.value.problems) == 6


def test_missing_settings_are_named_as_the_operator_sets_them() -> None:
    with pytest.raises(InvalidSettings) as error:
        from_environment({})
    assert "PLANTWATCH_STREAM_ARN: missing" in error.value.problems


def test_nobody_speaks_for_other_devices_unless_it_is_named() -> None:
    assert SETTINGS.gateways == ()
    named = from_environment({**ENVIRONMENT, "PLANTWATCH_GATEWAYS": "gateway-1,gateway-2"})
    assert named.gateways == ("gateway-1", "gateway-2")


def test_the_daemon_is_told_what_the_library_would_get_wrong_by_itself() -> None:
    told = properties(SETTINGS, python="python", environment={})
    assert told["executableName"] == "python -m kcl_consumer.processor"
    assert told["workerId"] == "slot-0"
    assert told["initialPositionInStream"] == "TRIM_HORIZON"
    assert told["callProcessRecordsEvenForEmptyRecordList"] == "true"
    assert int(told["timeoutInSeconds"]) * 1000 > SETTINGS.patience_s * 1000
    assert int(told["shutdownGraceMillis"]) > 0
    assert not {"kinesisEndpoint", "dynamoDBEndpoint"} & set(told), "AWS's own endpoints"
    assert "-Daws.cborEnabled=false" not in jvm_flags(SETTINGS, {})


def test_other_endpoints_are_told_to_the_daemon_too() -> None:
    environment = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_KINESIS": "http://127.0.0.1:2"}
    told = render_properties(SETTINGS, python="python", environment=environment)
    assert "kinesisEndpoint = http://127.0.0.1:2\n" in told
    assert "dynamoDBEndpoint = http://127.0.0.1:1\n" in told
    assert "-Daws.cborEnabled=false" in jvm_flags(SETTINGS, environment)


def test_the_command_works_from_folders_with_spaces(tmp_path: Path) -> None:
    settings = replace(SETTINGS, work_folder=tmp_path / "work folder", java="sh")
    command = daemon_command(settings, {})
    file = Path(command[command.index("--properties-file") + 1])
    (executable,) = (line for line in file.read_text().splitlines() if line.startswith("executableName"))
    assert "/" not in executable, "the daemon splits this line at spaces"
    assert Path(command[command.index("--log-configuration") + 1]).is_file()
    assert daemon_environment({"PATH": "/bin", "X": "1"})["PATH"].endswith(":/bin")


def test_a_missing_java_is_named() -> None:
    with pytest.raises(MissingJava, match="no-such-java"):
        daemon_command(replace(SETTINGS, java="no-such-java"), {})


def test_patience_ends() -> None:
    now, calls = [0.0], []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def fails(what: str) -> None:
        calls.append(what)
        raise DeliveryFailed(what)

    with pytest.raises(DeliveryFailed):
        Patience(10.0, sleep=sleep, monotonic=lambda: now[0]).insist(fails, "x")
    assert 3 < len(calls) < 12
    assert now[0] <= 10.0


def test_patience_repeats_failed_deliveries_only() -> None:
    answers: list[Exception | int] = [DeliveryFailed("once"), 7]

    def effect() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert Patience(10.0, sleep=lambda _: None).insist(effect) == 7
    answers.append(Refused("for good"))
    with pytest.raises(Refused):
        Patience(10.0, sleep=lambda _: None).insist(effect)


class MemoryLock:
    """LeaderLock."""

    def __init__(self, lock: Lock | None) -> None:
        self.lock = lock
        self.deleted: list[Lock] = []

    def read(self) -> Lock | None:
        return self.lock

    def delete(self, lock: Lock) -> bool:
        if self.lock is None or self.lock.version != lock.version:
            return False
        self.deleted.append(lock)
        self.lock = None
        return True


LIVE = Lock("w1", "v1", "100")


@pytest.mark.parametrize(
    "sign", [LIVE._replace(version="v2"), LIVE._replace(reported="102"), LIVE._replace(owner="w2")]
)
def test_any_sign_of_life_counts(sign: Lock) -> None:
    sighting = look(look(None, LIVE, now_s=0.0), sign, now_s=9.0)
    assert not is_silent(sighting, now_s=11.0, silent_s=10.0)


def test_a_leader_is_silent_when_nothing_changed_for_long_enough() -> None:
    sighting = look(look(None, LIVE, now_s=0.0), LIVE, now_s=9.0)
    assert not is_silent(sighting, now_s=9.9, silent_s=10.0)
    assert is_silent(sighting, now_s=10.0, silent_s=10.0)
    assert not is_silent(look(sighting, None, now_s=20.0), now_s=20.0, silent_s=10.0)


def test_the_watchdog_deletes_a_silent_leaders_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leader_lock, "LOOK_EVERY_S", 0.001)
    lock, stop, now = MemoryLock(LIVE), threading.Event(), [0.0]

    def later() -> float:
        now[0] += 1.0
        if lock.deleted:
            stop.set()
        return now[0]

    leader_lock.watch(lock, silent_s=10.0, stop=stop, monotonic=later)
    assert lock.deleted == [LIVE]


def test_a_supervisor_takes_its_own_dead_daemons_lock_only() -> None:
    own, other = MemoryLock(LIVE), MemoryLock(LIVE)
    assert release_own(own, "w1")
    assert not release_own(other, "w2")
    assert not release_own(MemoryLock(None), "w1")
    assert (own.deleted, other.deleted) == ([LIVE], [])


class MemoryLeases:
    """Leases."""

    def __init__(self, empty: list[bool | None], shards: list[Shard]) -> None:
        self.empty = empty
        self.found = shards
        self.added: list[Shard] = []

    def is_empty(self) -> bool | None:
        return self.empty.pop(0)

    def shards(self) -> list[Shard]:
        return self.found

    def add(self, shard: Shard) -> None:
        self.added.append(shard)


FRESH, CHILD = Shard("shardId-0", "0", "9"), Shard("shardId-1", "0", "4", ("shardId-0",))


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    monkeypatch.setattr(first_start, "LOOK_EVERY_S", 1.0)
    event = threading.Event()
    monkeypatch.setattr(event, "wait", lambda timeout: event.is_set())
    return event


def test_the_first_leases_are_written_as_soon_as_there_is_a_table(stop: threading.Event) -> None:
    leases = MemoryLeases([None, None, True], [FRESH])
    assert first_start.seed(leases, stop=stop)
    assert leases.added == [FRESH]


def test_leases_that_are_there_stay(stop: threading.Event) -> None:
    leases = MemoryLeases([False], [FRESH])
    assert not first_start.seed(leases, stop=stop)
    assert leases.added == []


def test_a_resharded_stream_is_left_to_the_library(stop: threading.Event) -> None:
    leases = MemoryLeases([True], [FRESH, CHILD])
    assert not first_start.seed(leases, stop=stop)
    assert leases.added == []


def test_waiting_for_the_table_ends_with_the_supervisor(stop: threading.Event) -> None:
    stop.set()
    assert not first_start.seed(MemoryLeases([None], [FRESH]), stop=stop)


def test_a_refusal_is_logged_and_leaves_the_library_to_it(
    stop: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases = MemoryLeases([True], [FRESH])

    def refuse(shard: Shard) -> None:
        raise Refused("AccessDenied")

    monkeypatch.setattr(leases, "add", refuse)
    with caplog.at_level(logging.ERROR):
        assert not first_start.seed(leases, stop=stop)
    assert "AccessDenied" in caplog.text


def test_a_flush_is_a_minute_wide_unless_the_operator_says_otherwise() -> None:
    assert SETTINGS.flush_policy.interval_ms == 60_000
    assert from_environment({**ENVIRONMENT, "PLANTWATCH_FLUSH_INTERVAL_S": "2"}).flush_policy.interval_ms == 2_000
