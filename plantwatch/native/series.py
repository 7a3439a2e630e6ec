"""`plantwatch.detectors.twofold_series.TwofoldSeries` by the native core: the same verdicts and states to the last bit.

A state goes in and out through a pure detector, which checks it: there is one form of states, and one judge of them.
"""

from __future__ import annotations

import ctypes
import math
from array import array
from collections.abc import Mapping, Sequence
from ctypes import c_double, c_float, c_int32, c_int64
from typing import Any, Final, NoReturn

from plantwatch.detectors.base import State
from plantwatch.detectors.calibration import Calibration
from plantwatch.detectors.evidence import PATIENT, Evidence, EvidenceParameters
from plantwatch.detectors.holdoff import BALANCED, EventState, HoldOffParameters
from plantwatch.detectors.memory import UNDO_READINGS, Memory
from plantwatch.detectors.portrait import DELAY, LAG, PAIRS, Portrait
from plantwatch.detectors.series import Verdict
from plantwatch.detectors.tail import Tail
from plantwatch.detectors.twofold import TwofoldNovelty
from plantwatch.detectors.twofold_series import TwofoldSeries

# What core/memory.h and core/twofold.h have room for, and core/series.c counts in.
_ROOM: Final = 240
_DELAY_ROOM: Final = 40
_BINS: Final = 161
# No signal has had more readings, and the core's arithmetic with them is exact.
_READINGS_MAX: Final = 2**53
_NEVER: Final = -1


class _Memory(ctypes.Structure):
    _fields_ = (
        ("resolution", c_double), ("mean", c_double), ("variance", c_double),
        ("count", c_int32), ("size_max", c_int32), ("latest_first", c_int32), ("latest_count", c_int32),
        ("values", c_float * (_ROOM + 2)),
        ("latest", c_float * UNDO_READINGS), ("latest_ages", c_int64 * UNDO_READINGS),
    )  # fmt: skip


class _Tail(ctypes.Structure):
    _fields_ = (("quantile", c_double), ("excess", c_double), ("step", c_double))


class _TailRule(ctypes.Structure):
    _fields_ = (("share", c_double), ("floor", c_double), ("excess_weight", c_double), ("warm_up", c_double))


class _View(ctypes.Structure):
    _fields_ = (
        ("baseline", c_double), ("tail", _Tail), ("delay", c_int64), ("pending", c_float * (2 * _DELAY_ROOM)),
        ("by_value", _Memory), ("by_deviation", _Memory),
    )  # fmt: skip


class _Novelty(ctypes.Structure):
    _fields_ = (
        ("origin", c_double), ("unit", c_double), ("last", c_double), ("mean", c_double), ("change", c_double),
        ("usual_change", c_double), ("activity_discount", c_double), ("weights", c_double * 5), ("rule", _TailRule),
        ("readings", c_int64), ("frozen", c_int64), ("grown_up", c_int64), ("views", _View * 3),
    )  # fmt: skip


class _Portrait(ctypes.Structure):
    _fields_ = (
        ("resolution", c_double), ("mean", c_double), ("variance", c_double), ("tail", _Tail), ("rule", _TailRule),
        ("readings", c_int64), ("count", c_int64), ("values", c_float * PAIRS), ("earlier", c_float * PAIRS),
        ("recent", c_float * LAG), ("pending", c_float * (2 * DELAY)),
    )  # fmt: skip


class _Event(ctypes.Structure):
    _fields_ = (
        ("peak", c_double), ("habit", c_double), ("begins", c_int64), ("last_surprising", c_int64),
        ("last_begun", c_int64), ("threshold", c_double), ("escalation", c_double), ("hold", c_double),
        ("hold_share", c_double), ("habit_step", c_double), ("habit_free", c_double), ("habit_memory", c_double),
    )  # fmt: skip


class _Evidence(ctypes.Structure):
    _fields_ = (
        ("amount", c_double), ("is_open", c_int64), ("calm", c_int64), ("allowance", c_double), ("open_at", c_double),
        ("most", c_double), ("clear_after", c_double), ("youth", c_double), ("youth_decades", c_double),
    )  # fmt: skip


class _Calibration(ctypes.Structure):
    _fields_ = (("total", c_double), ("weight", c_double), ("prior", c_double), ("counts", c_double * _BINS))


class _Series(ctypes.Structure):
    """`pw_series` in core/series.c."""

    _fields_ = (
        ("readings", c_int64), ("train_rows_left", c_int64), ("event", _Event), ("evidence", _Evidence),
        ("portrait", _Portrait), ("novelty", _Novelty), ("calibration", _Calibration),
    )  # fmt: skip


class SeriesCore:
    """The core's functions for `NativeTwofold`. ValueError where the library lays its memory out in another way."""

    __slots__ = ("step", "miss", "steps")

    def __init__(self, library: ctypes.PyDLL) -> None:
        if library.pw_series_bytes() != ctypes.sizeof(_Series):
            raise ValueError(f"a series takes {library.pw_series_bytes()} bytes there, {ctypes.sizeof(_Series)} here")
        address = ctypes.c_void_p
        self.step = library.pw_series_step
        self.step.argtypes, self.step.restype = (address, c_double), c_double
        self.miss = library.pw_series_miss
        self.miss.argtypes, self.miss.restype = (address,), c_double
        self.steps = library.pw_series_steps
        self.steps.argtypes, self.steps.restype = (address, address, c_int32), c_int32


class NativeTwofold:
    """One signal. Its memory is one structure that is freed with it."""

    __slots__ = ("_memory", "_address", "_core", "_step", "_hold_off", "_patience")
    KIND: Final = TwofoldSeries.KIND

    def __init__(
        self,
        core: SeriesCore,
        train_rows: int | None = None,
        hold_off: HoldOffParameters = BALANCED,
        evidence: EvidenceParameters = PATIENT,
    ) -> None:
        self._core, self._step = core, core.step
        self._hold_off, self._patience = hold_off, evidence
        self._memory = _Series()
        self._address = ctypes.addressof(self._memory)
        self._take(TwofoldSeries(train_rows, hold_off, evidence))

    def step(self, values: Sequence[float | None]) -> Verdict:
        value = values[0]
        signed: float = self._core.miss(self._address) if value is None else self._step(self._address, value)
        if signed > 0.0:
            return Verdict(signed, False)
        if signed != signed:
            raise ValueError(f"a detector takes finite values, not {value}")
        return Verdict(-signed, True) if math.copysign(1.0, signed) < 0.0 else Verdict(0.0, False)

    def steps(self, values: Sequence[float | None]) -> list[Verdict]:
        """Row after row in one call: what `step` says of each. ValueError at a value that is not finite; the rows
        before it have come."""
        asked = array("d", [math.nan if value is None else _unless_nan(value) for value in values])
        done = self._core.steps(self._address, asked.buffer_info()[0], len(asked))
        if done < len(asked):
            raise ValueError(f"a detector takes finite values, not {asked[done]}")
        sign = math.copysign
        return [Verdict(abs(signed), sign(1.0, signed) < 0.0) for signed in asked]

    def state(self) -> State:
        pure = TwofoldSeries(None, self._hold_off, self._patience)
        self._give(pure)
        return pure.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        pure = TwofoldSeries(None, self._hold_off, self._patience)
        pure.restore(state)
        try:
            self._take(pure)
        except TypeError as error:
            raise ValueError(f"a {self.KIND} state holds something else than its numbers: {error}") from None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a native detector is copied by `state` and `restore`: its memory has an address")

    def _take(self, pure: TwofoldSeries) -> None:
        """Go on where `pure` is. Nothing has changed where that is refused."""
        memory = _Series()
        memory.readings, memory.train_rows_left = _count(pure._readings), _count(pure._train_rows_left)
        _take_event(memory.event, pure._event, pure._hold_off)
        _take_evidence(memory.evidence, pure._evidence, pure._patience)
        _take_portrait(memory.portrait, pure._portrait)
        _take_novelty(memory.novelty, pure._novelty)
        calibration = pure._calibration
        memory.calibration = _Calibration(
            calibration._total, calibration._weight, calibration._prior, (c_double * _BINS)(*calibration._counts)
        )
        ctypes.memmove(self._address, ctypes.addressof(memory), ctypes.sizeof(_Series))

    def _give(self, pure: TwofoldSeries) -> None:
        """Make `pure` go on from here."""
        memory = self._memory
        pure._readings, pure._train_rows_left = memory.readings, memory.train_rows_left
        event, evidence = memory.event, memory.evidence
        last = None if event.last_surprising == _NEVER else event.last_surprising
        pure._event = EventState(bool(event.begins), last, event.peak, event.habit, event.last_begun)
        pure._evidence = Evidence(evidence.amount, bool(evidence.is_open), evidence.calm)
        _give_portrait(memory.portrait, pure._portrait)
        _give_novelty(memory.novelty, pure._novelty)
        _give_calibration(memory.calibration, pure._calibration)


def _take_event(memory: _Event, event: EventState, chosen: HoldOffParameters) -> None:
    memory.begins, memory.peak, memory.habit = bool(event.begins), event.peak, event.habit
    memory.last_surprising = _NEVER if event.last_surprising is None else _count(event.last_surprising)
    memory.last_begun = _count(event.last_begun)
    memory.threshold, memory.escalation = chosen.threshold, chosen.escalation
    memory.hold, memory.hold_share = chosen.hold, chosen.hold_share
    memory.habit_step, memory.habit_free, memory.habit_memory = chosen.habit, chosen.habit_free, chosen.habit_memory


def _take_evidence(memory: _Evidence, evidence: Evidence, chosen: EvidenceParameters) -> None:
    memory.amount, memory.is_open, memory.calm = evidence.amount, bool(evidence.is_open), _count(evidence.calm)
    for name in chosen.__slots__:
        setattr(memory, name, getattr(chosen, name))


def _take_portrait(memory: _Portrait, pure: Portrait) -> None:
    memory.resolution, memory.mean, memory.variance = pure._resolution, pure._mean, pure._variance
    memory.tail, memory.rule = _tail(pure._tail), _rule(pure._tail)
    memory.readings, memory.count = _count(pure._readings), len(pure._values)
    memory.values[: len(pure._values)], memory.earlier[: len(pure._earlier)] = pure._values, pure._earlier
    memory.recent[:], memory.pending[:] = pure._recent, pure._pending


def _give_portrait(memory: _Portrait, pure: Portrait) -> None:
    pure._resolution, pure._mean, pure._variance = memory.resolution, memory.mean, memory.variance
    pure._tail.restore(_numbers(memory.tail))
    pure._readings = memory.readings
    pure._values = array("f", memory.values[: memory.count])
    pure._earlier = array("f", memory.earlier[: memory.count])
    pure._recent, pure._pending = array("f", memory.recent), array("f", memory.pending)


def _take_novelty(memory: _Novelty, pure: TwofoldNovelty) -> None:
    memory.readings, memory.frozen, memory.grown_up = _count(pure._readings), bool(pure._frozen), pure._grown_up
    for name in _RUNNING:
        setattr(memory, name, getattr(pure, f"_{name}"))
    memory.activity_discount = pure.parameters.activity_discount
    memory.weights[:] = pure._weights
    memory.rule = _rule(pure._reading.tail)
    for own, view in zip(memory.views, pure._views(), strict=True):
        own.baseline, own.tail, own.delay = view.baseline, _tail(view.tail), len(view.pending) // 2
        own.pending[: len(view.pending)] = view.pending
        _take_memory(own.by_value, view.by_value)
        _take_memory(own.by_deviation, view.by_deviation)


def _give_novelty(memory: _Novelty, pure: TwofoldNovelty) -> None:
    pure._readings, pure._frozen = memory.readings, bool(memory.frozen)
    for name in _RUNNING:
        setattr(pure, f"_{name}", getattr(memory, name))
    for own, view in zip(memory.views, pure._views(), strict=True):
        view.baseline = own.baseline
        view.tail.restore(_numbers(own.tail))
        view.pending = array("f", own.pending[: 2 * own.delay])
        _give_memory(own.by_value, view.by_value)
        _give_memory(own.by_deviation, view.by_deviation)


def _take_memory(memory: _Memory, pure: Memory) -> None:
    memory.resolution, memory.mean, memory.variance = pure.resolution, pure.mean, pure.variance
    memory.count, memory.size_max, memory.latest_count = len(pure.values), pure.size_max, len(pure.latest)
    memory.values[: len(pure.values)], memory.latest[: len(pure.latest)] = pure.values, pure.latest
    memory.latest_ages[: len(pure.latest)] = pure.latest_ages


def _give_memory(memory: _Memory, pure: Memory) -> None:
    pure.resolution, pure.mean, pure.variance = memory.resolution, memory.mean, memory.variance
    pure.values = array("f", memory.values[: memory.count])
    ring = [(memory.latest_first + turn) % UNDO_READINGS for turn in range(memory.latest_count)]
    pure.latest = array("f", [memory.latest[place] for place in ring])
    pure.latest_ages = array("q", [memory.latest_ages[place] for place in ring])


def _give_calibration(memory: _Calibration, pure: Calibration) -> None:
    pure._total, pure._weight, pure._prior = memory.total, memory.weight, memory.prior
    pure._counts = list(memory.counts)


_RUNNING: Final = ("origin", "unit", "last", "mean", "change", "usual_change")


def _tail(tail: Tail) -> _Tail:
    return _Tail(*tail.numbers())


def _numbers(tail: _Tail) -> list[float]:
    return [tail.quantile, tail.excess, tail.step]


def _rule(tail: Tail) -> _TailRule:
    return _TailRule(tail._share, tail._floor, tail._excess_weight, tail._warm_up)


def _count(number: int) -> int:
    """Of readings, as the core can take it: a place in a ring is computed from it."""
    if not isinstance(number, int) or not 0 <= number <= _READINGS_MAX:
        raise ValueError(f"the state counts {number!r} readings")
    return number


def _unless_nan(value: float) -> float:
    """NaN stands for a missing value in the core; one that was given is refused with the infinite ones."""
    return math.inf if math.isnan(value) else value
