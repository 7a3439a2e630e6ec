"""The two emulated regions: their names, their ports, how each is started and reached.

A region is one process, so that a drill can stop or kill it without touching the other one. Clients reach it as they
reach AWS: by a profile or by `AWS_ENDPOINT_URL`, and by MQTT with a client certificate.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localcloud.processes import ProcessSpec, ProcessTable, wait_until

HOST: Final = "127.0.0.1"
ACCOUNT: Final = "000000000000"
REPOSITORY: Final = Path(__file__).resolve().parent.parent

# How often a region writes its state down: this bounds what a kill -9 of it loses (a clean stop loses nothing).
SNAPSHOT_EVERY_S: Final = 5.0
# A proxy that a user has set would be asked for 127.0.0.1, too.
_WITHOUT_PROXY: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Region:
    """One emulated region. `role` ("primary", "dr") is also the name of its AWS profile."""

    role: str
    name: str
    http_port: int
    mqtt_port: int


PRIMARY: Final = Region("primary", "us-east-1", 14566, 18883)
DR: Final = Region("dr", "us-west-2", 14567, 18884)


def endpoint_url(region: Region) -> str:
    return f"http://{HOST}:{region.http_port}"


def emulator_python() -> Path:
    """The interpreter that has the emulator; the emulator pins its own botocore and never shares an environment."""
    chosen = os.environ.get("PLANTWATCH_EMULATOR_PYTHON")
    return Path(chosen) if chosen else REPOSITORY / ".venv-emulator" / "bin" / "python"


def emulator_spec(
    region: Region,
    state_dir: Path,
    *,
    snapshot_every_s: float = SNAPSHOT_EVERY_S,
    shard_limits: bool = False,
    log_level: str = "WARNING",
    stock: bool = False,
) -> ProcessSpec:
    """How to start `region` with its state in `state_dir`/role.

    `shard_limits` enforces Kinesis' 1,000 records/s and 1 MiB/s per shard. `stock` leaves the emulator unpatched: the
    contract tests compare with it.
    """
    home = (state_dir / region.role).resolve()
    # ministack reads all of this while it is imported.
    env = {
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
        "GATEWAY_PORT": str(region.http_port),
        "IOT_MTLS_PORT": str(region.mqtt_port),
        "BIND_HOST": HOST,
        "MINISTACK_HOST": "localhost",
        "MINISTACK_REGION": region.name,
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AUTH": "true",
        "LAMBDA_EXECUTOR": "local",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "1",
        "S3_PERSIST": "1",
        "STATE_DIR": str(home / "services"),
        "S3_DATA_DIR": str(home / "objects"),
        "TMPDIR": str(home / "tmp"),
        "LOG_LEVEL": log_level,
        # Keeps its container reaper off a user's Docker.
        "DOCKER_HOST": "unix:///nonexistent.sock",
        "LOCALCLOUD_SNAPSHOT_EVERY_S": str(snapshot_every_s),
        "LOCALCLOUD_SHARD_LIMITS": "1" if shard_limits else "0",
    }
    module = "ministack" if stock else "localcloud.emulator"
    return ProcessSpec(
        name=f"region-{region.role}",
        argv=(str(emulator_python()), "-m", module),
        env=env,
        cwd=REPOSITORY,
        ports=(region.http_port, region.mqtt_port),
        folders=(home / "services", home / "objects", home / "tmp"),
    )


def wait_ready(region: Region, timeout_s: float = 30.0, table: ProcessTable | None = None) -> None:
    """Wait until HTTP and MQTT answer; TimeoutError otherwise, ProcessDied at once where a process of `table` ended."""

    def ready() -> bool:
        if table is not None:
            table.check_alive()
        return is_ready(region)

    wait_until(ready, timeout_s, f"region {region.role} ({endpoint_url(region)}) ready")


def is_ready(region: Region) -> bool:
    """Whether the region serves HTTP and MQTT now."""
    try:
        return bool(fetch(region, "/_ministack/ready", timeout_s=2.0))
    except OSError:
        return False


def fetch_ca(region: Region) -> bytes:
    """The PEM of the CA that signed the region's MQTT endpoint: each region has its own. OSError when it is down."""
    return fetch(region, "/_ministack/iot/ca.pem")


def fetch(region: Region, path: str, timeout_s: float = 10.0) -> bytes:
    with _WITHOUT_PROXY.open(endpoint_url(region) + path, timeout=timeout_s) as response:
        body: bytes = response.read()
    return body


def environment(region: Region) -> dict[str, str]:
    """What a product process needs to see `region` as its AWS, and nothing of the user's own AWS configuration."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url(region),
        "AWS_DEFAULT_REGION": region.name,
        "AWS_REGION": region.name,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def profiles_environment(config: Path) -> dict[str, str]:
    """For a process that reaches both regions by their profiles (see `write_aws_config`)."""
    return {
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def write_aws_config(path: Path, regions: Iterable[Region] = (PRIMARY, DR)) -> None:
    """One AWS profile per region, named after its role."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(_profile(region) for region in regions))


def _profile(region: Region) -> str:
    return (
        f"[profile {region.role}]\n"
        f"region = {region.name}\n"
        f"endpoint_url = {endpoint_url(region)}\n"
        "aws_access_key_id = test\n"
        "aws_secret_access_key = test\n"
    )
