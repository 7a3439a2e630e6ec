"""`plantwatch.detectors.novelty.Novelty` by the native core: the same surprises, states and bands to the last bit."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Sequence
from functools import cache
from typing import Final, NoReturn

from plantwatch.detectors import novelty as pure
from plantwatch.detectors.base import State
from plantwatch.detectors.novelty import CELLS, NoveltyParameters

# The fields of `pw_novelty` in core/novelty.c, without the cells at their end.
_HEAD: Final = struct.Struct("=8d10d5q4q4d")
_LOW: Final = struct.Struct("=d")
_READINGS: Final = struct.Struct("=q")
_READINGS_AT: Final = 18 * 8
_RAW_CELLS: Final = slice(_HEAD.size, _HEAD.size + CELLS + 1)
_SLOW_CELLS: Final = slice(_RAW_CELLS.stop, _RAW_CELLS.stop + CELLS + 1)
# A C compiler makes the size a multiple of its largest field.
_BYTES: Final = -(-_SLOW_CELLS.stop // 8) * 8


class NoveltyCore:
    """The core's functions for `NativeNovelty`. ValueError where the library lays its memory out in another way."""

    __slots__ = ("step", "score", "freeze", "step_all")

    def __init__(self, library: ctypes.PyDLL) -> None:
        if library.pw_novelty_bytes() != _BYTES:
            raise ValueError(f"a detector takes {library.pw_novelty_bytes()} bytes there and {_BYTES} here")
        address, number, value = ctypes.c_void_p, ctypes.c_int32, ctypes.c_double
        self.step = library.pw_novelty_step
        self.step.argtypes, self.step.restype = (address, value), value
        self.score = library.pw_novelty_score
        self.score.argtypes, self.score.restype = (address, value), value
        self.freeze = library.pw_novelty_freeze
        self.freeze.argtypes, self.freeze.restype = (address, number), None
        self.step_all = library.pw_novelty_step_all
        self.step_all.argtypes, self.step_all.restype = (address, number), number


class NativeNovelty:
    """One signal. Its memory is one buffer that is freed with it; `handle` is that buffer's address."""

    __slots__ = ("parameters", "handle", "_memory", "_core", "_step")
    KIND: Final = pure.Novelty.KIND

    def __init__(self, core: NoveltyCore, parameters: NoveltyParameters) -> None:
        self.parameters = parameters
        self._core, self._step = core, core.step
        # Never resized, so that its address holds for its life.
        self._memory = bytearray(_BYTES)
        self.handle = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.restore(pure.Novelty(parameters).state())

    @property
    def warming_up(self) -> bool:
        low: float = _LOW.unpack_from(self._memory)[0]
        readings: int = _READINGS.unpack_from(self._memory, _READINGS_AT)[0]
        return low == math.inf or readings < self.parameters.warm_up

    @property
    def readings_left(self) -> int | None:
        low: float = _LOW.unpack_from(self._memory)[0]
        readings: int = _READINGS.unpack_from(self._memory, _READINGS_AT)[0]
        return pure.left_of_warm_up(low, readings, self.parameters)

    def step(self, value: float) -> float:
        surprise: float = self._step(self.handle, value)
        return surprise if surprise >= 0.0 else _refuse(value)

    def score_one(self, value: float) -> float:
        surprise: float = self._core.score(self.handle, value)
        return surprise if surprise >= 0.0 else _refuse(value)

    def learn_one(self, value: float) -> None:
        self.step(value)

    def freeze(self) -> None:
        self._core.freeze(self.handle, 1)

    def thaw(self) -> None:
        self._core.freeze(self.handle, 0)

    def expected(self) -> tuple[float, float] | None:
        low, inverse = _HEAD.unpack_from(self._memory)[:2]
        return pure.band(self._memory[_RAW_CELLS], low, inverse)

    def state(self) -> State:
        low, inverse, slow_position, centre, _, first_low, first_high, weight, *rest = _HEAD.unpack_from(self._memory)
        readings, block, block_left, beyond, frozen = rest[10:15]
        return pure.packed_state(
            (
                low, inverse, first_low, first_high, slow_position, centre, readings, block, block_left, weight, beyond,
                bool(frozen),
            ),
            ((self._memory[_RAW_CELLS], rest[0:5]), (self._memory[_SLOW_CELLS], rest[5:10])),
        )  # fmt: skip

    def restore(self, state: State) -> None:
        scalars, ((raw, raw_numbers), (slow, slow_numbers)) = pure.unpacked_state(state)
        (
            low, inverse, first_low, first_high, slow_position, centre, readings, block, block_left, weight, beyond,
            frozen,
        ) = scalars  # fmt: skip
        chosen = self.parameters
        try:
            head = _HEAD.pack(
                low, inverse, slow_position, centre, 1.0 / chosen.mean_readings, first_low, first_high, weight,
                *raw_numbers, *slow_numbers,
                readings, block, block_left, beyond, frozen,
                chosen.warm_up, chosen.block, chosen.memory, chosen.tail_memory,
                chosen.near, chosen.prior_run, chosen.prior_excess, chosen.prior_weight,
            )  # fmt: skip
        except (struct.error, OverflowError) as error:
            raise ValueError(f"a {self.KIND} state holds something else than its numbers: {error}") from None
        self._memory[: _SLOW_CELLS.stop] = head + raw + slow

    def __reduce__(self) -> NoReturn:
        raise TypeError("a native detector is copied by `state` and `restore`: its memory has an address")


class NoveltyPanel:
    """The detectors that one reading feeds, in one call. Not for two threads at once: it has one buffer."""

    __slots__ = ("_step_all", "_signals", "_buffer", "_address", "_asked", "_answered")

    def __init__(self, core: NoveltyCore) -> None:
        self._step_all = core.step_all
        self._fit(4)

    def __call__(self, handles: Sequence[int], values: Sequence[float]) -> Sequence[float]:
        """The surprises of `values`, one for each detector; empty where all are 0."""
        signals = len(handles)
        if signals != self._signals:
            self._fit(signals)
        self._asked.pack_into(self._buffer, 0, *handles, *values)
        found = self._step_all(self._address, signals)
        if not found:
            return ()
        if found < 0:
            _refuse(next(value for value in values if not math.isfinite(value)))
        return self._answered.unpack_from(self._buffer, 8 * signals)

    def _fit(self, signals: int) -> None:
        """Machines seldom change the number of their signals."""
        self._signals = signals
        self._asked, self._answered = _layouts(signals)
        self._buffer = bytearray(self._asked.size + 1)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))


@cache
def _layouts(signals: int) -> tuple[struct.Struct, struct.Struct]:
    """Handles and values; surprises. As many as a reading may have signals."""
    return struct.Struct(f"={signals}Q{signals}d"), struct.Struct(f"={signals}d")


def _refuse(value: float) -> NoReturn:
    raise ValueError(f"a detector takes finite values, not {value}")
