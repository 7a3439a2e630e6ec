"""Every setting of the consumer: environment variables `PLANTWATCH_` + the field's name in capitals.

The defaults suit AWS. Region, credentials and endpoints are AWS's own variables (AWS_REGION, AWS_ENDPOINT_URL...).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from plantwatch import settings
from plantwatch.settings import InvalidSettings
from plantwatch.shard.flush import FlushPolicy
from plantwatch.shard.settings import PREFIX, ShardSettings

# Kinesis allows five reads of a shard per second, and the library replaces anything lower by this.
IDLE_BETWEEN_READS_MS_MIN: Final = 200


@dataclass(frozen=True, kw_only=True)
class ConsumerSettings(ShardSettings):
    """One consumer of one tenant in one region. Times in seconds or milliseconds, as their names say."""

    # Where the properties file lies and the supervisor keeps what it needs; private to this worker.
    work_folder: Path
    # Stable per slot (pod name, host): a restarted worker takes its own leases back at once.
    worker_id: str

    flush_interval_s: float = 60.0
    flush_rows_max: int = FlushPolicy().rows_max
    flush_bytes_max: int = FlushPolicy().bytes_max
    # How long one call may keep failing before the process gives up; less than `child_timeout_s`.
    patience_s: float = 60.0

    idle_between_reads_ms: int = IDLE_BETWEEN_READS_MS_MIN
    # One call's records are in memory at once, and their alerts wait for no more than these.
    records_max: int = 1_000
    # A lease whose holder is silent for so long is given to another worker.
    failover_ms: int = 10_000
    # The leader's round: each lease waits half of it for a worker, and each round reads the lease table.
    lease_assignment_interval_ms: int = 5_000
    worker_metrics_report_ms: int = 2_000
    shard_sync_ms: int = 1_000
    parent_shard_poll_ms: int = 5_000
    shutdown_grace_ms: int = 30_000
    # A child that does not answer for so long ends the daemon, which is then restarted.
    child_timeout_s: int = 180
    metrics_level: str = "SUMMARY"
    protect_tables: bool = True

    java: str = "java"
    # The daemon moves bytes: it starts in half the time with the first compiler only, and needs 30 MB less.
    jvm_flags: tuple[str, ...] = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    # A leader that neither renewed its lock nor reported its load for so long is dead.
    leader_silent_s: float = 10.0
    restart_delay_max_s: float = 30.0

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be greater than 0, not {getattr(self, name)}"
            for name in _POSITIVE
            if getattr(self, name) <= 0
        ]
        problems += self.shared_problems()
        if self.idle_between_reads_ms < IDLE_BETWEEN_READS_MS_MIN:
            problems.append(f"idle_between_reads_ms must be at least {IDLE_BETWEEN_READS_MS_MIN}")
        if self.patience_s >= self.child_timeout_s:
            problems.append(
                "patience_s must be less than child_timeout_s, or the daemon halts before the child gives up"
            )
        if self.leader_silent_s * 1000 < 4 * self.worker_metrics_report_ms:
            problems.append(
                "leader_silent_s must be at least 4 times worker_metrics_report_ms: one late report is no death"
            )
        if self.metrics_level not in _METRICS_LEVELS:
            problems.append(f"metrics_level must be one of {', '.join(_METRICS_LEVELS)}, not {self.metrics_level}")
        if problems:
            raise InvalidSettings(problems)

    @property
    def flush_policy(self) -> FlushPolicy:
        return FlushPolicy(round(self.flush_interval_s * 1000), self.flush_rows_max, self.flush_bytes_max)


_METRICS_LEVELS: Final = ("NONE", "SUMMARY", "DETAILED")
_POSITIVE: Final = (
    "flush_interval_s",
    "flush_rows_max",
    "flush_bytes_max",
    "patience_s",
    "records_max",
    "failover_ms",
    "lease_assignment_interval_ms",
    "worker_metrics_report_ms",
    "shard_sync_ms",
    "parent_shard_poll_ms",
    "shutdown_grace_ms",
    "child_timeout_s",
    "leader_silent_s",
    "restart_delay_max_s",
)


def from_environment(environment: Mapping[str, str]) -> ConsumerSettings:
    """Raises InvalidSettings with all problems."""
    return settings.load(ConsumerSettings, environment, prefix=PREFIX)
