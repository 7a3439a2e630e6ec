"""One bundle, one stream of readings: every runtime that scores gives the same scores, to the last digit.

A runtime joins by one function in `RUNTIMES`: the bundle's file and the stream in, what it made of each reading out.
"""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from edge_component.intake import Intake
from edge_component.numbering import Numbering
from edge_component.sources.local_topics import LocalMessage
from models.serving.application import Application
from models.serving.container import load_bundle
from models.serving.scorer import Scorer
from plantwatch import envelope
from plantwatch.bundle.container import save
from plantwatch.bundle.model import Bundle
from plantwatch.bundle.runtime import watching
from plantwatch.detectors.relation import Relation
from plantwatch.machine import Machines
from plantwatch.pipeline import Pipeline
from plantwatch.record import Record, encode_record
from plantwatch.scoring import ScoredReading
from plantwatch.states.rules import StateRule, StateRules, When
from plantwatch.telemetry import Source, parse_reading, telemetry_topic
from plantwatch.watch_config import WatchConfig
from tests.bundle_support import AT, bundle, prior
from tests.lambda_support import MemoryWorld, kinesis_item

TENANT: Final = "acme"
GATEWAY: Final = "gateway-1"
STEPS: Final = 1_200
# Of which these are somehow strange, and these in another state.
FAULT: Final = range(800, 860)
CLEANING: Final = range(300, 360)


class Sent(NamedTuple):
    """One reading as its device published it."""

    device: str
    fields: dict[str, Any]
    received_at: int


class Judged(NamedTuple):
    """What a runtime made of one reading."""

    device: str
    observed_at: int
    score: float
    shares: dict[str, float]
    faults: dict[str, str]
    open_kinds: tuple[str, ...]
    warming_up: bool
    ready_in_s: int | None
    state: str
    suppression: str | None
    bundle: str


def stream() -> list[Sent]:
    """Three pumps: one well, one whose flow breaks away, one whose sensor is stuck and which falls silent. Now and
    then a sensor gives no value, and one reading comes late."""
    sent: list[Sent] = []
    random_ = random.Random(7)
    for step in range(STEPS):
        at = AT + 1000 * step
        for device in ("pump-1", "pump-2", "pump-3"):
            flow, pressure = random_.gauss(10.0, 0.4), random_.gauss(5.0, 0.4)
            if step in FAULT:
                if device == "pump-2":
                    flow += 0.04 * (step - FAULT.start)
                    pressure -= 0.06 * (step - FAULT.start)
                pressure = 5.25 if device == "pump-3" else pressure
            fields: dict[str, Any] = {"ts": at, "flow": flow, "pressure": pressure if step % 97 else None}
            if step in CLEANING:
                fields["program"] = "cip"
            sent.append(Sent(device, fields, at + 20))
    late = sent.pop(3 * 500)
    sent.insert(3 * 510, late._replace(received_at=AT + 1000 * 510))
    return sent


def judged(scored: ScoredReading) -> Judged:
    return Judged(
        scored.reading.device,
        scored.reading.observed_at,
        scored.score,
        dict(scored.shares),
        {fault.signal: fault.fault for fault in scored.faults},
        scored.open_kinds,
        scored.warming_up,
        scored.ready_in_s,
        scored.state,
        scored.suppression,
        scored.bundle,
    )


def edge_batches(bundle_path: Path, readings: list[Sent]) -> Iterator[tuple[bytes, int]]:
    """What the gateway publishes, and when the region receives it."""
    intake = Intake(
        Pipeline(watching(str(bundle_path)), tenant=TENANT),
        Numbering(last_taken=lambda _: 0, last_numbered=lambda _: 0),
        gateway=GATEWAY,
        epoch=1,
        batch_bytes_max=5_000,
    )
    for item in readings:
        topic = f"plantwatch/telemetry/{item.device}"
        intake.accept([LocalMessage(topic, json.dumps(item.fields).encode(), item.received_at)])
    for message in intake.seal().messages:
        yield message.payload, readings[-1].received_at + 1000


def edge(bundle_path: Path, readings: list[Sent]) -> list[Judged]:
    return [
        judged(scored)
        for payload, at in edge_batches(bundle_path, readings)
        for scored in envelope.decode(payload, Source(TENANT, GATEWAY), received_at=at).scored
    ]


def consumer(bundle_path: Path, readings: list[Sent]) -> list[Judged]:
    """Things that publish by themselves: scored in the region."""
    pipeline = Pipeline(watching(str(bundle_path)), tenant=TENANT)
    effects = [
        pipeline.accept(
            encode_record(
                Record(telemetry_topic(TENANT, item.device), item.received_at, json.dumps(item.fields).encode())
            ),
            arrived_at=item.received_at,
        )
        for item in readings
    ]
    return [judged(scored) for effect in effects for scored in effect.scored]


def consumer_of_batches(bundle_path: Path, readings: list[Sent]) -> list[Judged]:
    """A gateway's batches, adopted as they were scored at the edge."""
    pipeline = Pipeline(watching(str(bundle_path)), tenant=TENANT, gateways=[GATEWAY])
    found: list[Judged] = []
    for payload, at in edge_batches(bundle_path, readings):
        record = Record(telemetry_topic(TENANT, GATEWAY), at, payload)
        effects = pipeline.accept(encode_record(record), arrived_at=at)
        assert effects.adopted == len(effects.scored)
        found += map(judged, effects.scored)
    return found


def warm_function(bundle_path: Path, readings: list[Sent]) -> list[Judged]:
    """The Lambda: batches of an event source mapping, taken now by one container and now by another, which goes on
    from the saved state."""
    world, found = MemoryWorld(str(bundle_path)), list[Judged]()
    for start in range(0, len(readings), 500):
        world.recycle()
        batch = list(enumerate(readings[start : start + 500], start))
        assert world.invoke([kinesis_item(number, item_record(item), item.received_at) for number, item in batch]) == []
    for position in sorted(world.lake.appended):
        found += map(judged, world.lake.appended[position])
    return found


def item_record(item: Sent) -> bytes:
    payload = json.dumps(item.fields).encode()
    return encode_record(Record(telemetry_topic(TENANT, item.device), item.received_at, payload))


def model_server(bundle_path: Path, readings: list[Sent]) -> list[Judged]:
    """The SageMaker server: one session, a few hundred readings a request."""
    clock = lambda: readings[-1].received_at  # noqa: E731
    application = Application(Scorer(load_bundle(bundle_path.parent), clock=clock), clock, 6 * 2**20)
    session, found = "NEW_SESSION", list[Judged]()
    for start in range(0, len(readings), 500):
        answers, session = _invoke(application, [_instance(item) for item in readings[start : start + 500]], session)
        found += [
            Judged(
                answer["device"], answer["observed_at"], answer["score"], answer["shares"], answer["faults"],
                tuple(answer["open_kinds"]), answer["warming_up"], answer["ready_in_s"], answer["state"],
                answer["suppression"], answer["bundle"],
            )
            for answer in answers
        ]  # fmt: skip
    return found


def _instance(item: Sent) -> dict[str, Any]:
    attributes = {name: value for name, value in item.fields.items() if isinstance(value, str)}
    signals = {name: value for name, value in item.fields.items() if name not in {"ts", *attributes}}
    return {
        "tenant": TENANT, "device": item.device, "ts": item.fields["ts"], "signals": signals,
        "attributes": attributes, "received_at": item.received_at,
    }  # fmt: skip


def _invoke(application: Application, instances: list[Any], session: str) -> tuple[list[Any], str]:
    body = json.dumps({"instances": instances}).encode()
    headers: dict[str, str] = {}
    [answer] = application(
        {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/invocations", "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
            "HTTP_X_AMZN_SAGEMAKER_SESSION_ID": session,
        },
        lambda _status, sent: headers.update(sent),
    )  # fmt: skip
    opened = headers.get("X-Amzn-SageMaker-New-Session-Id", session).partition(";")[0]
    return json.loads(answer)["scores"], opened


RUNTIMES: Final[dict[str, Callable[[Path, list[Sent]], list[Judged]]]] = {
    "edge": edge,
    "consumer": consumer,
    "consumer of batches": consumer_of_batches,
    "warm function": warm_function,
    "model server": model_server,
}


CLEANS: Final = StateRules((StateRule("cleaning", When(attribute="program", equals="cip"), watched=False),))
BUNDLES: Final[dict[str, Bundle]] = {
    "with priors": bundle(),
    "that knows nothing": Bundle("blank"),
    "with a relation": replace(
        bundle(),
        relation=Relation(("flow", "pressure"), (10.0, 5.0), ("pressure",), ((4.0, -2.0), (-2.0, 4.0))),
        deviations={"pressure": prior(0.0, 3)},
    ),
    "with states": replace(bundle(), config=WatchConfig(states=CLEANS)),
}


def oracle(judge: Bundle) -> list[Judged]:
    """The machines themselves, without any runtime, file or wire around them."""
    machines = Machines.of(judge)
    readings = (
        parse_reading(json.dumps(item.fields).encode(), Source(TENANT, item.device), received_at=item.received_at)
        for item in stream()
    )
    return in_order([judged(machines.watch(reading)) for reading in readings])


def in_order(found: list[Judged]) -> list[Judged]:
    return sorted(found, key=lambda item: (item.device, item.observed_at))


def test_the_stream_has_something_to_disagree_about() -> None:
    expected = oracle(BUNDLES["with priors"])
    assert len(expected) == 3 * STEPS
    assert {item.device for item in expected if item.score > 0.99} >= {"pump-2"}
    assert len({item.score for item in expected}) > 20
    assert any(item.faults for item in expected)
    assert any(len(item.shares) > 1 for item in expected)
    assert {kind for item in expected for kind in item.open_kinds} == {"process_anomaly", "sensor_fault"}
    assert any(item.ready_in_s for item in expected)
    assert {item.suppression for item in expected} == {None, "late"}
    assert oracle(BUNDLES["with a relation"]) != [
        item._replace(bundle=BUNDLES["with a relation"].digest) for item in expected
    ]
    assert {item.state for item in oracle(BUNDLES["with states"])} == {"running", "cleaning"}


@pytest.mark.parametrize("judge", BUNDLES)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_the_same_bundle_gives_the_same_scores(runtime: str, judge: str, tmp_path: Path) -> None:
    path = tmp_path / "judge.bundle"
    save(BUNDLES[judge], path)
    found = in_order(RUNTIMES[runtime](path, stream()))
    assert found == oracle(BUNDLES[judge])
    assert {item.bundle for item in found} == {BUNDLES[judge].digest}
