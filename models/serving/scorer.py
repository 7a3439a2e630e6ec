"""Instances to scores, with one bundle: values one by one, readings as the streams that they are.

Values have neither time nor machine, so each is held alone against what the bundle's fleet has met: nothing is learnt,
and its score depends on no neighbour, however a batch was cut. Readings take the very path of the other runtimes
(`Pipeline.watch`), which learns; a stream begins as every machine that is new to the bundle begins, and lasts as long
as the request, the session (`NEW_SESSION`) or the batch job in which it comes.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from models.serving.formats import Answer, Instance, InvalidRequest, Values
from plantwatch import native
from plantwatch.bundle.model import Bundle
from plantwatch.detectors.base import score_of
from plantwatch.explain import price_of_looks
from plantwatch.machine import Machines
from plantwatch.telemetry import EpochMs, Reading

# Of 1,000 machines of four signals each (64 MB): half a gigabyte, which the smallest instances for models have spare.
SESSIONS_MAX: Final = 8
MACHINES_PER_STREAM_MAX: Final = 1_000
# A shift and its hand-over. SageMaker routes a session to its instance until then.
SESSION_S: Final = 12 * 3600.0
NEW_SESSION: Final = "NEW_SESSION"


class Memory:
    """What the bundle's fleet has met of each signal, frozen: scores values, and changes by none."""

    def __init__(self, bundle: Bundle) -> None:
        parameters = bundle.config.detector
        self.signals = tuple(bundle.priors)
        self._detectors = []
        for prior in bundle.priors.values():
            detector = native.novelty(parameters)
            # Of age, so that it may be asked; the tail it rests on is the fleet's.
            detector.restore(prior.state(parameters.warm_up, parameters.block))
            self._detectors.append(detector)
        self._price = price_of_looks(len(self.signals))

    def score(self, values: Values) -> float:
        """InvalidRequest unless there is one value for each signal."""
        if len(values) != len(self.signals):
            raise InvalidRequest(f"{len(values)} values for {len(self.signals)} signals ({_named(self.signals)})")
        surprises = (detector.score_one(value) for detector, value in zip(self._detectors, values, strict=True))
        return score_of(max(surprises) - self._price)


@dataclass(slots=True)
class Stream:
    """Machines that learn from reading to reading; one request at a time."""

    machines: Machines
    expires_at: EpochMs = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Scorer:
    """Everything that one server remembers. Safe for several threads; `clock` says when sessions have expired."""

    def __init__(self, bundle: Bundle, *, clock: Callable[[], EpochMs], batch: bool = False) -> None:
        self.bundle = bundle
        self.memory = Memory(bundle) if bundle.priors else None
        self._clock = clock
        self._sessions: OrderedDict[str, Stream] = OrderedDict()
        self._lock = threading.Lock()
        # A batch job's mini-batches are one stream: how they were cut is SageMaker's choice.
        self._job = self._new_stream() if batch else None

    def checked(self, instances: Iterable[Instance]) -> list[float | Reading]:
        """Values as their scores, readings as they are. InvalidRequest for the first instance that is wrong."""
        return [self._checked(instance, number) for number, instance in enumerate(instances, start=1)]

    def play(self, checked: Iterable[float | Reading], session: str = "") -> list[Answer]:
        """The answers in order; readings move their stream on. InvalidRequest where there is no such session."""
        stream = self._stream(session)
        with stream.lock:
            watch = stream.machines.watch
            return [watch(item) if isinstance(item, Reading) else item for item in checked]

    def open_session(self) -> tuple[str, EpochMs]:
        """A new session's name, and when it ends. Where there are too many, the longest unused one is closed."""
        name = uuid.uuid4().hex
        stream = self._new_stream()
        stream.expires_at = self._clock() + round(SESSION_S * 1000)
        with self._lock:
            self._sessions[name] = stream
            while len(self._sessions) > SESSIONS_MAX:
                self._sessions.popitem(last=False)
        return name, stream.expires_at

    def close_session(self, name: str) -> None:
        """What it has learnt is forgotten. InvalidRequest where there is no such session."""
        with self._lock:
            if self._sessions.pop(name, None) is None:
                raise _no_session(name)

    def _stream(self, session: str) -> Stream:
        if not session:
            return self._job or self._new_stream()
        with self._lock:
            stream = self._sessions.pop(session, None)
            if stream is None or stream.expires_at <= self._clock():
                raise _no_session(session)
            self._sessions[session] = stream  # the longest unused is first
            return stream

    def _checked(self, instance: Instance, number: int) -> float | Reading:
        if isinstance(instance, Reading):
            return instance
        if self.memory is None:
            raise InvalidRequest(
                f"instance {number} has no names of signals, and the bundle {self.bundle.name} knows none itself:"
                " send readings, or train a bundle"
            )
        try:
            return self.memory.score(instance)
        except InvalidRequest as error:
            raise InvalidRequest(f"instance {number}: {error}") from None

    def _new_stream(self) -> Stream:
        return Stream(Machines.of(self.bundle, machines_max=MACHINES_PER_STREAM_MAX))


def expiry(at: EpochMs) -> str:
    """2026-11-23T21:19:00Z, as SageMaker wants it in `X-Amzn-SageMaker-New-Session-Id`."""
    return datetime.fromtimestamp(at // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _named(signals: tuple[str, ...]) -> str:
    shown = ", ".join(signals[:8])
    return shown if len(signals) <= 8 else f"{shown}, ..."


def _no_session(name: str) -> InvalidRequest:
    return InvalidRequest(f"session {name[:64]!r} is unknown or has expired: begin one with {NEW_SESSION}")
