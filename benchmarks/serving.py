"""The model server as a process: requests a second, latency, time to its first answer, memory.

    python -m benchmarks.serving            writes build/bench/serving.json

One client asks one request after the other on one connection; then four do so at once. Values are scored one by one;
readings as a stream of one session, four signals each.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from localcloud import procfs
from localcloud.processes import free_ports, wait_until
from models.history import csv_series
from models.training import Wish, train
from plantwatch.bundle.container import save

REPOSITORY: Final = Path(__file__).resolve().parents[1]
REPORT: Final = REPOSITORY / "build" / "bench" / "serving.json"
SIGNALS: Final = ("flow", "pressure", "current", "temperature")
AT_S: Final = 1_763_877_600
SECONDS: Final = 4.0
ROWS: Final = 1_800
STARTS: Final = 5


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _make_model(root)
        starts = [_time_to_first_answer(root) for _ in range(STARTS)]
        with _server(root) as (port, pid):
            rss_mb = {"idle": round(procfs.rss_mb(pid), 1)}
            results = {
                f"{kind}, {instances} instances, {clients} clients": _load(port, kind, instances, clients)
                for kind in ("values", "readings")
                for instances in (1, 100)
                for clients in (1, 4)
            }
            rss_mb["after load"] = round(procfs.rss_mb(pid), 1)
    report = {"start_s": round(statistics.median(starts), 3), "rss_mb": rss_mb, "requests": results}
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


def _make_model(root: Path) -> None:
    random_ = random.Random(1)
    lines = [",".join(["time", *SIGNALS])]
    for row in range(ROWS):
        values = [f"{random_.gauss(10.0, 0.5):.4f}" for _ in SIGNALS]
        lines.append(",".join([str(AT_S + 60 * row), *values]))
    recording = root / "pump.csv"
    recording.write_text("\n".join(lines) + "\n")
    bundle = train(csv_series([recording], tenant="bench"), Wish("pumps", "pump")).bundle
    (root / "model").mkdir()
    save(bundle, root / "model" / "pumps.bundle")


@contextmanager
def _server(root: Path) -> Iterator[tuple[int, int]]:
    [port] = free_ports(1)
    process = subprocess.Popen(
        [sys.executable, "-m", "models.serving", "serve"],
        cwd=REPOSITORY,
        env={**os.environ, "PLANTWATCH_ML_ROOT": str(root), "SAGEMAKER_BIND_TO_PORT": str(port)},
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _answers(port), 20.0, "the model server answers")
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def _time_to_first_answer(root: Path) -> float:
    began = time.perf_counter()
    with _server(root):
        return time.perf_counter() - began


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _load(port: int, kind: str, instances: int, clients: int) -> dict[str, Any]:
    """`SECONDS` of requests: how many a second, and how long each took, in milliseconds."""
    latencies: list[float] = []
    ends_at = time.perf_counter() + SECONDS
    threads = [
        threading.Thread(target=_ask, args=(port, kind, instances, client, ends_at, latencies))
        for client in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = sorted(latencies)
    return {
        "requests_per_s": round(len(ordered) / SECONDS),
        "instances_per_s": round(instances * len(ordered) / SECONDS),
        "p50_ms": round(1000 * ordered[len(ordered) // 2], 2),
        "p99_ms": round(1000 * ordered[len(ordered) * 99 // 100], 2),
    }


def _ask(port: int, kind: str, instances: int, client: int, ends_at: float, latencies: list[float]) -> None:
    random_ = random.Random(client)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20.0)
    headers = {"Content-Type": "application/json"}
    sent = 0
    if kind == "readings":
        headers["X-Amzn-SageMaker-Session-Id"] = _open_session(connection)
    while time.perf_counter() < ends_at:
        body = json.dumps({"instances": [_instance(kind, sent + number, random_) for number in range(instances)]})
        sent += instances
        began = time.perf_counter()
        connection.request("POST", "/invocations", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        latencies.append(time.perf_counter() - began)
        assert answer.status == 200, content
    connection.close()


def _open_session(connection: http.client.HTTPConnection) -> str:
    headers = {"Content-Type": "application/json", "X-Amzn-SageMaker-Session-Id": "NEW_SESSION"}
    body = json.dumps({"instances": [_instance("readings", -1, random.Random(0))]})
    connection.request("POST", "/invocations", body, headers)
    answer = connection.getresponse()
    answer.read()
    return str(answer.headers["X-Amzn-SageMaker-New-Session-Id"]).partition(";")[0]


def _instance(kind: str, number: int, random_: random.Random) -> dict[str, Any]:
    values = [random_.gauss(10.0, 0.5) for _ in SIGNALS]
    if kind == "values":
        return {"features": values}
    signals = dict(zip(SIGNALS, values, strict=True))
    return {"tenant": "bench", "device": "pump", "ts": AT_S + number, "signals": signals}


if __name__ == "__main__":
    main()
