"""One machine: the path of a reading from its checks to what it opens and clears."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from plantwatch import native
from plantwatch.detectors.base import score_of
from plantwatch.detectors.prior import FleetKnowledge, Prior
from plantwatch.detectors.relation import ShortMeans
from plantwatch.machine.incidents import NEWS, Incidents
from plantwatch.machine.signal import Found, RelatedSignal, Signals, WatchedSignal, ready_in_s, shares_of, strangest
from plantwatch.maintenance import Schedule
from plantwatch.scoring import ScoredReading, SensorFault, Suppression
from plantwatch.states.tracker import StateTracker
from plantwatch.telemetry import SIGNALS_MAX, EpochMs, Reading
from plantwatch.watch_config import WatchConfig

# Readings older than the newest in a row, after which we believe that the clock was set back; stragglers are fewer.
_LATE_IN_A_ROW_MAX: Final = 50


@dataclass(slots=True)
class WatchCounts:
    """What was left out, so that no limit works in silence."""

    evicted_machines: int = 0
    evicted_signals: int = 0
    late_readings: int = 0


class Machine:
    """One device. Each signal has a process detector and its sensor's quality checks, the machine its incidents.

    With known states (`WatchConfig.states`) `signals` are those of the present state, named `in_state`, and each state
    has its own. A reading in a state that is not watched, or during maintenance, opens nothing and teaches nothing.
    """

    __slots__ = (
        "signals", "newest", "in_state", "incidents", "schedule", "_received_at", "_config", "_counts", "_priors",
        "_bundle", "_late_in_a_row", "_learning", "_panel", "_tracker", "_unwatched", "_by_state", "_relation",
        "_related", "_means",
    )  # fmt: skip

    def __init__(
        self,
        config: WatchConfig,
        counts: WatchCounts,
        knowledge: FleetKnowledge,
        bundle: str,
        schedule: Schedule | None = None,
    ) -> None:
        self._config = config
        self._priors = knowledge.priors
        self._relation = knowledge.relation
        self._bundle = bundle
        self._counts = counts
        self.schedule = schedule
        self.signals: Signals = {}
        self.newest: EpochMs = 0
        self._received_at: EpochMs = 0
        self._late_in_a_row = 0
        # No detector has left its warm-up yet.
        self._learning = True
        self._panel = native.panel()
        self._tracker = StateTracker(config.states) if config.states.rules else None
        self._unwatched = config.states.unwatched
        self.in_state = self._tracker.state if self._tracker else ""
        self._by_state: dict[str, Signals] = {self.in_state: self.signals}
        self._related = [RelatedSignal(name, config, prior) for name, prior in self._targets(knowledge)]
        self._means = ShortMeans(self._relation.signals, self._relation.mean_s) if self._relation else None
        self.incidents = Incidents(config, self._implicated if self._relation else None)

    def watch(self, reading: Reading) -> ScoredReading:
        """Check, score, learn, decide. A reading older than the machine's newest is scored, and changes nothing."""
        at = reading.observed_at
        if at < self.newest and self._is_straggler(reading):
            return self._score_late(reading)
        before, self.newest = self.newest, at
        self._received_at = reading.received_at
        self._late_in_a_row = 0
        if self._tracker is not None or self.schedule is not None:
            suppression = self._place(reading, before)
            if suppression is not None:
                return self._watch_suppressed(reading, suppression)
        fed: list[WatchedSignal] = []
        values: list[float] = []
        faulty: list[WatchedSignal] = []
        signals = self.signals
        for name, value in reading.signals.items():
            signal = signals.get(name) or self._meet(name)
            if signal.check(value, at):
                fed.append(signal)
                values.append(value)
            elif signal.quality.fault is not None:
                faulty.append(signal)
        if reading.missing:
            faulty += self._check_missing(reading)
        surprises = self._step(fed, values, at)
        found = [pair for pair in zip(surprises, fed, strict=True) if pair[0] > 0.0] if surprises else []
        if self._learning:
            self._learning = all(signal.detector.warming_up for signal in signals.values())
        if not found and not faulty and self.incidents.is_calm:
            wait = ready_in_s(signals.values()) if self._learning else None
            return ScoredReading(reading, 0.0, (), (), (), (), self._learning, self._bundle, wait, self.in_state)
        return self._decide(reading, found, faulty)

    def _relate(self, means: ShortMeans, fed: list[WatchedSignal], values: list[float], at: EpochMs) -> None:
        """Feed also how far each target is from what the other signals say; nothing where one of them is missing."""
        known = {signal.name: value for signal, value in zip(fed, values, strict=True)}
        if self._relation is None or not means.step(known, at):
            return
        for signal, deviation in zip(self._related, self._relation.deviations(means.values), strict=True):
            if not isfinite(deviation):  # a value at the end of a float's range, times its weight
                continue
            signal.said = known[signal.name] - deviation
            fed.append(signal)
            values.append(deviation)

    def _implicated(self, suspects: Sequence[str]) -> Sequence[str]:
        if self._relation is None or self._means is None or not self._means.values:
            return suspects
        return self._relation.implicated(self._means.values, suspects)

    def _step(self, fed: list[WatchedSignal], values: list[float], at: EpochMs) -> Sequence[float]:
        """The surprises of these values, which are learnt; may be empty where all are 0."""
        if self._means is not None:
            self._relate(self._means, fed, values, at)
        if self._panel is not None:
            handles = [signal.handle for signal in fed]
            if all(handles):
                return self._panel(handles, values)
        surprises = [signal.step(value) for signal, value in zip(fed, values, strict=True)]
        for signal in fed:
            signal.handle = signal.detector.handle
        return surprises

    def _decide(self, reading: Reading, found: Found, faulty: Sequence[WatchedSignal]) -> ScoredReading:
        """The path of readings with anything to report, and of those that follow until all is calm again."""
        incidents = self.incidents
        was_stopped = incidents.is_learning_stopped
        looks = len(reading.signals) + len(self._related)
        surprise = strangest(found, looks)
        watched = [*self.signals.values(), *self._related]
        transitions = incidents.decide(reading, found, surprise, looks, faulty, watched)
        if incidents.is_learning_stopped is not was_stopped:
            self._stop_or_learn(self._all_signals())
        return self._scored(reading, found, surprise, faulty)._replace(transitions=transitions)

    def _scored(
        self,
        reading: Reading,
        found: Found,
        surprise: float,
        faulty: Iterable[WatchedSignal] = (),
        suppression: Suppression | None = None,
    ) -> ScoredReading:
        return ScoredReading(
            reading,
            score_of(surprise),
            shares_of(found) if surprise > 0.0 else (),
            tuple(SensorFault(signal.name, signal.quality.fault) for signal in faulty if signal.quality.fault),
            self.incidents.open_kinds,
            (),
            self._learning,
            self._bundle,
            ready_in_s(self.signals.values()) if self._learning else None,
            self.in_state,
            suppression,
        )

    def _stop_or_learn(self, signals: Iterable[WatchedSignal]) -> None:
        for signal in signals:
            if self.incidents.is_learning_stopped:
                signal.detector.freeze()
            else:
                signal.detector.thaw()

    def _place(self, reading: Reading, before: EpochMs) -> Suppression | None:
        """Follow the machine's state and calendar; why this reading is suppressed, where it is."""
        at, schedule, tracker = reading.observed_at, self.schedule, self._tracker
        is_maintenance = schedule is not None and schedule.at(at) is not None
        was_unwatched = self.in_state in self._unwatched
        if tracker is not None:
            learn = not is_maintenance and not self.incidents.is_learning_stopped
            state = tracker.follow(reading, learn=learn)
            if state != self.in_state:
                self._enter(state)
        if was_unwatched or (schedule is not None and schedule.touches(before, at)):
            # Nobody expected it to speak meanwhile: that silence is no sensor's fault.
            for signal in self.signals.values():
                signal.quality.set_clock(at)
        if self.in_state in self._unwatched:
            return Suppression.STATE
        return Suppression.MAINTENANCE if is_maintenance else None

    def _enter(self, state: str) -> None:
        """Go on with the signals as they are known in this state. In one that is not watched they wait as they are."""
        self.in_state = state
        if state in self._unwatched:
            return
        before, self.signals = self.signals, self._by_state.setdefault(state, {})
        if before is self.signals:
            return
        for signal in self.signals.values():
            signal.forget_evidence()
        for name, known in before.items():
            (self.signals.get(name) or self._meet(name)).take_over(known)
        if self.incidents.is_learning_stopped:
            self._stop_or_learn(self.signals.values())
        self._learning = all(signal.detector.warming_up for signal in self.signals.values())

    def _watch_suppressed(self, reading: Reading, suppression: Suppression) -> ScoredReading:
        """Nothing opens, clears or is learnt; during maintenance the reading is checked and scored all the same."""
        found: list[tuple[float, WatchedSignal]] = []
        faulty: list[WatchedSignal] = []
        if suppression is Suppression.STATE:
            return self._scored(reading, found, 0.0, faulty, suppression)
        known = [(self.signals[name], value) for name, value in reading.signals.items() if name in self.signals]
        for signal, value in known:
            if signal.quality.check_unlearnt(value, reading.observed_at):
                surprise = signal.detector.score_one(value)
                if surprise > 0.0:
                    found.append((surprise, signal))
                if surprise >= NEWS:
                    signal.quality.is_news()
            elif signal.quality.fault is not None:
                faulty.append(signal)
        faulty += self._check_missing(reading._replace(missing=tuple(self.signals.keys() & reading.missing)))
        return self._scored(reading, found, strangest(found, len(reading.signals)), faulty, suppression)

    def _check_missing(self, reading: Reading) -> list[WatchedSignal]:
        faulty = []
        for name in reading.missing:
            signal = self.signals.get(name) or self._meet(name)
            signal.quality.check_missing(reading.observed_at)
            if signal.quality.fault is not None:
                faulty.append(signal)
        return faulty

    def _is_straggler(self, reading: Reading) -> bool:
        """Whether an old reading is merely late, or a repeat of what was received before.

        After many late ones in a row that are received for the first time, the device's clock was set back, and we
        follow it.
        """
        self._counts.late_readings += 1
        if reading.received_at <= self._received_at:
            return True
        self._late_in_a_row += 1
        if self._late_in_a_row <= _LATE_IN_A_ROW_MAX:
            return True
        at = reading.observed_at
        for signal in self._all_signals():
            signal.quality.set_clock(at)
        self.incidents.set_clock(at)
        if self._means is not None:
            self._means.set_clock(at)
        if self._tracker is not None:
            self._tracker.set_clock(at)
        return False

    def _score_late(self, reading: Reading) -> ScoredReading:
        signals = self.signals
        if self._tracker is not None:
            # It belongs to the state that it tells itself, and is as strange as it is there.
            state = self._tracker.glance(reading)
            signals = {} if state in self._unwatched else self._by_state.get(state, {})
        known = [(signals[name], value) for name, value in reading.signals.items() if name in signals]
        scored = [(signal.detector.score_one(value), signal) for signal, value in known]
        found = [(surprise, signal) for surprise, signal in scored if surprise > 0.0]
        return self._scored(reading, found, strangest(found, len(reading.signals)), suppression=Suppression.LATE)

    def _meet(self, name: str) -> WatchedSignal:
        """A signal not seen before in this state; beyond the limit the longest silent one makes room."""
        if len(self.signals) >= SIGNALS_MAX:
            silent = min(self.signals.values(), key=lambda signal: signal.quality.last_at)
            del self.signals[silent.name]
            self._counts.evicted_signals += 1
        signal = self.signals[name] = WatchedSignal(name, self._config, self._priors.get(name))
        return signal

    def _all_signals(self) -> Iterator[WatchedSignal]:
        for signals in self._by_state.values():
            yield from signals.values()
        yield from self._related

    def _targets(self, knowledge: FleetKnowledge) -> list[tuple[str, Prior]]:
        targets = knowledge.relation.targets if knowledge.relation else ()
        return [(target, knowledge.deviations[target]) for target in targets]

    def state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        state = {
            "newest": self.newest,
            "received_at": self._received_at,
            "late_in_a_row": self._late_in_a_row,
            "learning": self._learning,
            **self.incidents.state(),
            "signals": _packed(self.signals),
        }
        if self._means is not None:
            state["relation"] = [self._means.state(), [signal.state() for signal in self._related]]
        if self._tracker is not None:
            state["tracker"] = self._tracker.pack()
            state["signals_of"] = next(name for name, signals in self._by_state.items() if signals is self.signals)
            state["by_state"] = {name: _packed(known) for name, known in self._by_state.items()}
            state["signals"] = {}
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; KeyError, TypeError or ValueError where it is none."""
        self.newest, self._received_at = state["newest"], state["received_at"]
        self._late_in_a_row, self._learning = state["late_in_a_row"], state["learning"]
        self.incidents.restore(state)
        self._unpack(state["signals"], self.signals)
        if self._means is not None:
            means, related = state["relation"]
            self._means.restore(means)
            for signal, memory in zip(self._related, related, strict=True):
                signal.restore(memory)
        if self._tracker is not None:
            self._tracker.unpack(state["tracker"])
            self.in_state = self._tracker.state
            for name, packed in state["by_state"].items():
                self._unpack(packed, self._by_state.setdefault(name, {}))
            self.signals = self._by_state[state["signals_of"]]

    def _unpack(self, packed: dict[str, Any], signals: Signals) -> None:
        for name, memory in packed.items():
            signal = signals[name] = WatchedSignal(name, self._config, self._priors.get(name))
            signal.restore(memory)


def _packed(signals: Signals) -> dict[str, Any]:
    return {name: signal.state() for name, signal in signals.items()}
