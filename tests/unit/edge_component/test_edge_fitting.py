"""A reading that no message to the cloud can hold becomes a dead letter, and its neighbours go on."""

from __future__ import annotations

import json
import random
import string

import pytest

from edge_component import fitting
from edge_component.fitting import READING_BYTES_MAX
from edge_component.intake import Count, Intake
from edge_component.numbering import Numbering
from edge_component.settings import IOT_CORE_BYTES_MAX
from edge_component.sources.local_topics import LocalMessage
from plantwatch import envelope
from plantwatch.incident import Cause, Fault, Kind, Phase, Severity, Transition
from plantwatch.machine import Machines
from plantwatch.pipeline import Pipeline
from plantwatch.scoring import ScoredReading, SensorFault
from plantwatch.telemetry import Reading, Rejection, RejectionReason, Source

AT = 1_763_877_600_000
TOPIC = "plantwatch/telemetry/pump-1"


def noise(length: int, seed: int = 0, letters: str = string.printable) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


def reading(signals: int = 1, attributes: int = 0, name_chars: int = 0) -> Reading:
    chance = random.Random(1)
    names = [noise(name_chars, index, string.ascii_letters) or f"sensor {index}" for index in range(signals)]
    values = {name: chance.random() * 10 ** chance.randrange(6) for name in names}
    texts = {f"note {index}": noise(1_000, index) for index in range(attributes)}
    return Reading("acme", "pump-1", AT, AT, values, texts, gateway="gateway-1", epoch=1, sequence=1)


@pytest.mark.parametrize("said", [reading(), reading(256), reading(40, 2), reading(6, 0, 128), reading(200, 0, 15)])
def test_what_fits_is_kept_as_it_is(said: Reading) -> None:
    assert fitting.checked(said, TOPIC) is said


@pytest.mark.parametrize("said", [reading(1, 8), reading(256, 0, 128), reading(1, 60)])
def test_what_does_not_fit_is_refused_by_name_with_all_that_it_said(said: Reading) -> None:
    refused = fitting.checked(said, TOPIC)
    assert isinstance(refused, Rejection)
    assert refused.reason is RejectionReason.TOO_LARGE
    assert refused.topic == TOPIC
    assert json.loads(refused.payload) == {"ts": AT, **said.signals, **said.attributes}


@pytest.mark.parametrize("letters", [string.printable, "\x00\x01\x1f\x7f", "äöü€", '"\\'])
def test_what_the_cheap_look_lets_through_fits(letters: str) -> None:
    for length in range(100, 7_000, 300):
        texts = {f"n{start}": noise(min(1_000, length - start), start, letters) for start in range(0, length, 1_000)}
        said = reading()._replace(attributes=texts)
        if not isinstance(fitting.checked(said, TOPIC), Rejection):
            assert len(envelope.encode([ScoredReading(said, 0.0)], epoch=1, bundle="b")) <= READING_BYTES_MAX + 50


def explained(said: Reading) -> ScoredReading:
    """A score with a part of everything for every signal."""
    share = 1 / len(said.signals)
    causes = tuple(Cause(name, share, value, value / 3, value * 1.1) for name, value in said.signals.items())
    return ScoredReading(
        said,
        0.999999,
        tuple((name, share) for name in said.signals),
        tuple(SensorFault(name, Fault.STUCK) for name in said.signals),
        (Kind.PROCESS_ANOMALY,),
        (Transition(Kind.PROCESS_ANOMALY, Phase.OPENED, AT, Severity.HIGH, 0.999999, causes),),
        bundle="0123456789abcdef",
    )


def test_an_explanation_that_does_not_fit_names_the_signals_that_matter_most() -> None:
    whole = explained(reading(256))
    short = fitting.shortened(whole)
    assert len(envelope.encode([whole], epoch=1, bundle=whole.bundle)) > IOT_CORE_BYTES_MAX
    assert len(envelope.encode([short], epoch=1, bundle=whole.bundle)) <= IOT_CORE_BYTES_MAX
    assert short.shares == whole.shares[:8]
    [transition] = short.transitions
    assert [cause.signal for cause in transition.causes] == [cause.signal for cause in whole.transitions[0].causes[:8]]
    assert sum(cause.share for cause in transition.causes) == pytest.approx(1.0)


def test_an_explanation_that_fits_is_left_whole() -> None:
    whole = explained(reading(12))
    assert fitting.shortened(whole) is whole


def test_one_reading_too_large_leaves_its_neighbours_their_numbers() -> None:
    numbering = Numbering(last_taken=lambda _: 0, last_numbered=lambda _: 0)
    pipeline = Pipeline(Machines(), tenant="acme")
    intake = Intake(pipeline, numbering, gateway="gateway-1", epoch=3, batch_bytes_max=5_000)
    huge = {f"note {index}": noise(1_000, index) for index in range(20)}
    objects = [{"ts": AT + index, "flow": index, **(huge if index == 1 else {})} for index in range(3)]
    intake.accept([LocalMessage(TOPIC, json.dumps(objects).encode(), AT)])
    addition = intake.seal()
    batches = [
        envelope.decode(item.payload, Source("acme", "gateway-1"), received_at=AT + 10) for item in addition.messages
    ]
    assert [item.reading.sequence for batch in batches for item in batch.scored] == [1, 2]
    assert addition.numbered == {"pump-1": 2}
    assert intake.counts[Count.REJECTED] == 1
    [told] = [item for batch in batches for item in batch.rejected]
    assert (told.reason, told.topic) == (RejectionReason.TOO_LARGE, TOPIC)
    assert "the first 2500 of" in told.detail
    assert told.payload.startswith(b'{"ts": ')
    assert max(len(item.payload) for item in addition.messages) <= IOT_CORE_BYTES_MAX
